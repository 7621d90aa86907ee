"""What a plugin of each kind must do, as checks that anybody's tests can run.

`pytest --headstart-plugins` checks the plugins of every installed package, `pytest --headstart-plugins=FOLDER` those of
a folder (`flows/contracts/pytest_plugin.py`).
"""
