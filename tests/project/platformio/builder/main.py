"""Builds a program without framework, with what PlatformIO's ststm32 adds to every such build, so that it shows here.

Flags and libraries are those of platform-ststm32 19.6.0 (builder/frameworks/_bare.py). To upload is to copy the image
to the path in UPLOADED.
"""

from os.path import join

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
cpu = "-mcpu=" + env.BoardConfig().get("build.cpu")
env.Replace(
    AR="arm-none-eabi-gcc-ar",
    CC="arm-none-eabi-gcc",
    OBJCOPY="arm-none-eabi-objcopy",
    SIZETOOL="arm-none-eabi-size",
    SIZEPROGREGEXP=r"^(?:\.text|\.data|\.rodata)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
)
env.Append(
    CCFLAGS=["-Os", "-ffunction-sections", "-fdata-sections", "-Wall", "-mthumb", cpu],
    CPPDEFINES=[("F_CPU", "$BOARD_F_CPU")],
    LINKFLAGS=["-Os", "-Wl,--gc-sections,--relax", "-mthumb", cpu],
    LIBS=["c", "gcc", "m", "stdc++"],
)
binary = join("$BUILD_DIR", "${PROGNAME}.bin")
if "nobuild" not in COMMAND_LINE_TARGETS:
    program = env.BuildProgram()
    binary = env.Command(binary, program, "$OBJCOPY -O binary $SOURCE $TARGET")
    env.Depends(binary, "checkprogsize")
AlwaysBuild(env.Alias("nobuild", binary))
AlwaysBuild(env.Alias("upload", binary, "cp $SOURCE ${ENV['UPLOADED']}"))
Default([env.Alias("buildprog", binary, binary)])
