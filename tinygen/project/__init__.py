"""Writers of projects: firmware, ESP-IDF, PlatformIO, and the parts of applications. One file per form."""
