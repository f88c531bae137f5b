"""Tools, toolboxes, and the networks and filters that they are made of."""

from restore_env.toolbox.storage import available_toolboxes, load_toolbox, save_toolbox
from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import STOP, Toolbox

__all__ = ["STOP", "Tool", "Toolbox", "available_toolboxes", "load_toolbox", "save_toolbox"]
