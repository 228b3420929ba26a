from __future__ import annotations

import configparser
import plistlib
from importlib import resources

UNITS = resources.files("pcv_config") / "units"


def test_the_systemd_unit_serves_the_folder_it_is_named_after() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((UNITS / "pcvd@.service").read_text())
    assert unit["Service"]["ExecStart"] == '"@PCVD@" serve --root "%f"'
    assert unit["Install"]["WantedBy"] == "default.target"


def test_launchd_serves_the_folder_it_is_told() -> None:
    agent = plistlib.loads((UNITS / "pcvd.plist").read_bytes())
    assert agent["ProgramArguments"] == ["@PCVD@", "serve", "--root", "@ROOT@"]
    assert agent["Label"] == "pcvd.@NAME@"
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
