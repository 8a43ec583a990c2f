# Static binaries on musl for the machine that builds. musl-gcc knows no kernel headers: a folder
# with links to the three that there are is searched last.
set(CMAKE_C_COMPILER musl-gcc)
set(PETREL_MUSL ON)
# Beside the libraries that are kept, so that what is built does not depend on the checkout.
if(DEFINED ENV{PETREL_CACHE_DIR})
  set(kernel $ENV{PETREL_CACHE_DIR}/kernel-headers)
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(kernel $ENV{XDG_CACHE_HOME}/petrel/kernel-headers)
else()
  set(kernel $ENV{HOME}/.cache/petrel/kernel-headers)
endif()
if(NOT EXISTS ${kernel}/linux)
  file(MAKE_DIRECTORY ${kernel})
  file(CREATE_LINK /usr/include/linux ${kernel}/linux SYMBOLIC)
  file(CREATE_LINK /usr/include/asm-generic ${kernel}/asm-generic SYMBOLIC)
  execute_process(COMMAND gcc -print-multiarch OUTPUT_VARIABLE triplet
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  file(CREATE_LINK /usr/include/${triplet}/asm ${kernel}/asm SYMBOLIC)
endif()
# For Petrel and for the libraries it builds.
set(PETREL_TARGET_C_FLAGS "-idirafter ${kernel}")
set(CMAKE_C_FLAGS_INIT "${PETREL_TARGET_C_FLAGS}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")
