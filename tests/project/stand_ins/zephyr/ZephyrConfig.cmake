# Stands for Zephyr's build system: as much as a module and a sample of ours ask of it, for this computer.
# Options are those of prj.conf and KCONFIG, a list of NAME=y.
enable_language(C)
add_executable(app)
target_include_directories(app PRIVATE ${CMAKE_CURRENT_LIST_DIR})

file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/prj.conf lines REGEX "^CONFIG_")
foreach(line ${lines} ${KCONFIG})
    string(REGEX MATCH "^([^=]*)=(.*)$" found ${line})
    set(${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
endforeach()

macro(zephyr_library_named name)
    set(ZEPHYR_CURRENT_LIBRARY ${name})
    add_library(${name} STATIC)
    target_link_libraries(app PRIVATE ${name})
endmacro()

function(zephyr_include_directories)
    target_include_directories(app PRIVATE ${ARGN})
    include_directories(${ARGN})
    set_property(DIRECTORY PROPERTY INCLUDE_DIRECTORIES ${ARGN})
endfunction()

foreach(what sources include_directories compile_options compile_definitions)
    cmake_language(EVAL CODE "
        function(zephyr_library_${what})
            target_${what}(\${ZEPHYR_CURRENT_LIBRARY} PRIVATE \${ARGN})
        endfunction()")
endforeach()

foreach(module ${ZEPHYR_EXTRA_MODULES})
    file(READ ${module}/zephyr/module.yml described)
    string(REGEX MATCH "name: ([A-Za-z0-9_]+)" found "${described}")
    set(module_name ${CMAKE_MATCH_1})
    string(REGEX MATCH "cmake: ([a-z]+)" found "${described}")
    add_subdirectory(${module}/${CMAKE_MATCH_1} modules/${module_name})
endforeach()
