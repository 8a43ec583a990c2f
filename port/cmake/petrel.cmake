# Functions every folder uses to declare what it is. Include paths arrive only through
# target_link_libraries, so the include graph is the link graph.

set(PETREL_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wvla
                    -Wmissing-prototypes -Werror)

# petrel_component(<name> SOURCES a.c ... DEPS base ...): static library petrel_<name>.
# Freestanding: the core has no C library behind it but five functions (test/tidy/core_symbols.sh).
function(petrel_component name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  set_property(GLOBAL APPEND PROPERTY PETREL_COMPONENTS ${name})
  add_library(petrel_${name} STATIC ${arg_SOURCES})
  target_include_directories(petrel_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(petrel_${name} PRIVATE ${PETREL_WARNINGS} -ffunction-sections
                                                -fdata-sections)
  foreach(dep IN LISTS arg_DEPS)
    target_link_libraries(petrel_${name} PUBLIC petrel_${dep})
  endforeach()
endfunction()

# petrel_unit_test(<name> SOURCES a.c ... LIBS petrel_x ...): ctest entry unit.<name>.
function(petrel_unit_test name)
  if(NOT PETREL_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(unit_${name} ${arg_SOURCES})
  target_compile_options(unit_${name} PRIVATE ${PETREL_WARNINGS})
  target_link_libraries(unit_${name} PRIVATE ${arg_LIBS} cmocka)
  add_test(NAME unit.${name} COMMAND unit_${name})
endfunction()
