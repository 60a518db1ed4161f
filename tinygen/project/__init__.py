"""Project writers: firmware, ESP-IDF, PlatformIO, and the parts of applications. One file per form."""
