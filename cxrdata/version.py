"""The version of cxrdata, in one place (read by the build, the manifest and `--version`)."""

__version__ = "0.1.0"
