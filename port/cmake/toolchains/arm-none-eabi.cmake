# Bare-metal Arm. The core is -DPETREL_CPU=cortex-m0plus|cortex-m3|cortex-m4 (soft float: the core
# uses no floating point).
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
# Compiler checks link nothing: there is no startup code here.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PETREL_CPU)
if(NOT PETREL_CPU)
  set(PETREL_CPU cortex-m0plus)
endif()
set(CMAKE_C_FLAGS_INIT "-mcpu=${PETREL_CPU} -mthumb -mfloat-abi=soft -ffreestanding")
