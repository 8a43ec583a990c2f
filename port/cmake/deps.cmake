# Fetches, verifies, patches and builds what Petrel stands on, at configure time, outside the tree.
#
#   petrel::lws_client  libwebsockets (client) + mbedTLS, for the agent
#   petrel::lws_server  libwebsockets (client and server) + mbedTLS with a test CA, for the tools
#   petrel::mbedtls     the same mbedTLS as lws_server's, alone
#   petrel::mbedcrypto  hashes of the agent's mbedTLS, without TLS
#   petrel::inih        inih with lines of 8 KiB
#
# Offline: -DPETREL_DEPS_DIR=<folder with the archives of port/deps.lock>. Results are kept in
# ${PETREL_CACHE_DIR}, by default ~/.cache/petrel, under a hash of everything they depend on.

if(DEFINED ENV{PETREL_CACHE_DIR})
  set(default_cache $ENV{PETREL_CACHE_DIR})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(default_cache $ENV{XDG_CACHE_HOME}/petrel)
elseif(DEFINED ENV{HOME})
  set(default_cache $ENV{HOME}/.cache/petrel)
else()
  set(default_cache ${CMAKE_BINARY_DIR}/deps)
endif()
set(PETREL_CACHE_DIR ${default_cache} CACHE PATH "Where fetched sources and built libraries are kept")
set(PETREL_DEPS_DIR "$ENV{PETREL_DEPS_DIR}" CACHE PATH "Folder with the archives, to build offline")

set(PETREL_DEPS_RECIPE 1) # raise it when the way of building below changes
set(PETREL_LOCK ${PROJECT_SOURCE_DIR}/port/deps.lock)
set(PETREL_PATCHES ${PROJECT_SOURCE_DIR}/port/lws/patches)
set(PETREL_MBEDTLS_PATCHES ${PROJECT_SOURCE_DIR}/port/mbedtls/patches)
include(${PROJECT_SOURCE_DIR}/port/lws/options.cmake)

# The bases of the package archives that apt uses on this machine.
function(petrel_apt_bases out)
  find_program(apt_get apt-get)
  set(bases)
  if(apt_get)
    execute_process(COMMAND ${apt_get} indextargets --format "$(REPO_URI)" OUTPUT_VARIABLE text
                    ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REPLACE "\n" ";" bases "${text}")
    list(REMOVE_DUPLICATES bases)
  endif()
  set(${out} ${bases} PARENT_SCOPE)
endfunction()

function(petrel_hash_is_good file hashes out)
  file(SHA256 ${file} actual)
  string(REPLACE "," ";" accepted ${hashes})
  if(actual IN_LIST accepted)
    set(${out} TRUE PARENT_SCOPE)
  else()
    set(${out} FALSE PARENT_SCOPE)
    message(STATUS "${file}: sha256 ${actual} is not the pinned one")
  endif()
endfunction()

# Looks up one line of the lock.
function(petrel_lock_entry name)
  file(STRINGS ${PETREL_LOCK} lines REGEX "^${name} ")
  list(LENGTH lines count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${PETREL_LOCK}: no single line for ${name}")
  endif()
  separate_arguments(fields UNIX_COMMAND "${lines}")
  list(GET fields 1 version)
  list(GET fields 2 pool)
  list(GET fields 3 hashes)
  list(GET fields 4 upstream)
  set(lock_version ${version} PARENT_SCOPE)
  set(lock_pool ${pool} PARENT_SCOPE)
  set(lock_hashes ${hashes} PARENT_SCOPE)
  set(lock_upstream ${upstream} PARENT_SCOPE)
endfunction()

# Path of the verified archive of `name`.
function(petrel_archive name out)
  petrel_lock_entry(${name})
  get_filename_component(file ${lock_pool} NAME)
  set(kept ${PETREL_CACHE_DIR}/archives/${file})
  if(EXISTS ${kept})
    petrel_hash_is_good(${kept} ${lock_hashes} good)
    if(good)
      set(${out} ${kept} PARENT_SCOPE)
      return()
    endif()
    file(REMOVE ${kept})
  endif()
  if(PETREL_DEPS_DIR)
    get_filename_component(upstream_file ${lock_upstream} NAME)
    foreach(candidate ${file} ${upstream_file})
      if(EXISTS ${PETREL_DEPS_DIR}/${candidate})
        petrel_hash_is_good(${PETREL_DEPS_DIR}/${candidate} ${lock_hashes} good)
        if(good)
          set(${out} ${PETREL_DEPS_DIR}/${candidate} PARENT_SCOPE)
          return()
        endif()
      endif()
    endforeach()
  endif()
  petrel_apt_bases(bases)
  set(addresses)
  foreach(base IN LISTS bases)
    string(REGEX REPLACE "/+$" "" base ${base})
    list(APPEND addresses ${base}/${lock_pool})
  endforeach()
  list(APPEND addresses ${lock_upstream})
  foreach(address IN LISTS addresses)
    message(STATUS "Fetching ${name} ${lock_version} from ${address}")
    file(DOWNLOAD ${address} ${kept}.part STATUS status INACTIVITY_TIMEOUT 30)
    list(GET status 0 code)
    if(code EQUAL 0)
      petrel_hash_is_good(${kept}.part ${lock_hashes} good)
      if(good)
        file(RENAME ${kept}.part ${kept})
        set(${out} ${kept} PARENT_SCOPE)
        return()
      endif()
    endif()
    file(REMOVE ${kept}.part)
  endforeach()
  message(
    FATAL_ERROR
      "${name} ${lock_version} could not be had from the package archive nor from upstream.\n"
      "Bring ${file} (sha256 ${lock_hashes}) in a folder and configure again with "
      "-DPETREL_DEPS_DIR=<that folder>.")
endfunction()

function(petrel_run what log)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_FILE ${log} ERROR_FILE ${log})
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${what} failed; see ${log}")
  endif()
endfunction()

# Unpacks the archive of `name` into `parent` and gives the folder it made.
function(petrel_unpack name parent out)
  petrel_archive(${name} archive)
  file(REMOVE_RECURSE ${parent}/${name})
  file(MAKE_DIRECTORY ${parent}/${name})
  file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${parent}/${name})
  file(GLOB made ${parent}/${name}/*)
  set(${out} ${made} PARENT_SCOPE)
endfunction()

# -- How the libraries are compiled ----------------------------------------------------------------

# Libraries of the host are built by gcc also where clang or a sanitizer builds Petrel: the ABI is
# the same, and one build serves all.
set(PETREL_DEPS_C_COMPILER ${CMAKE_C_COMPILER})
if(CMAKE_C_COMPILER_ID MATCHES "Clang" AND NOT CMAKE_CROSSCOMPILING)
  find_program(PETREL_GCC gcc REQUIRED)
  set(PETREL_DEPS_C_COMPILER ${PETREL_GCC})
endif()
set(PETREL_DEPS_C_FLAGS
    "-Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables ${PETREL_TARGET_C_FLAGS}"
)
set(PETREL_DEPS_AR_ARGS)
if(PETREL_LTO)
  string(APPEND PETREL_DEPS_C_FLAGS " -flto=auto -ffat-lto-objects")
  find_program(PETREL_GCC_AR gcc-ar REQUIRED)
  find_program(PETREL_GCC_RANLIB gcc-ranlib REQUIRED)
  set(PETREL_DEPS_AR_ARGS -DCMAKE_AR=${PETREL_GCC_AR} -DCMAKE_RANLIB=${PETREL_GCC_RANLIB})
endif()

function(petrel_deps_key variant out)
  execute_process(COMMAND ${PETREL_DEPS_C_COMPILER} -v ERROR_VARIABLE compiler OUTPUT_QUIET)
  file(GLOB inputs ${PETREL_PATCHES}/*.patch ${PETREL_MBEDTLS_PATCHES}/*.patch
       ${PROJECT_SOURCE_DIR}/port/mbedtls/*.h ${PROJECT_SOURCE_DIR}/port/mbedtls/*.cmake)
  list(APPEND inputs ${PETREL_LOCK} ${PROJECT_SOURCE_DIR}/port/lws/options.cmake)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${inputs})
  set(text "${PETREL_DEPS_RECIPE}|${variant}|${PETREL_DEPS_C_COMPILER}|${compiler}|${PETREL_DEPS_C_FLAGS}")
  foreach(input IN LISTS inputs)
    file(SHA256 ${input} hash)
    string(APPEND text "|${hash}")
  endforeach()
  string(SHA256 key "${text}")
  string(SUBSTRING ${key} 0 16 key)
  set(${out} ${key} PARENT_SCOPE)
endfunction()

# Applies the patches of `folder` in the order of their names.
function(petrel_patch source folder log)
  find_program(PATCH_PROGRAM patch REQUIRED)
  file(GLOB patches ${folder}/*.patch)
  list(SORT patches)
  foreach(patch IN LISTS patches)
    petrel_run("Applying ${patch}" ${log} ${PATCH_PROGRAM} --fuzz=0 -p1 -d ${source} -i ${patch})
  endforeach()
endfunction()

function(petrel_build_mbedtls work prefix config)
  petrel_unpack(mbedtls ${work} source)
  petrel_patch(${source} ${PETREL_MBEDTLS_PATCHES} ${work}/mbedtls-patch.log)
  set(defines "-DMBEDTLS_CONFIG_FILE='\"${config}\"' -I${PROJECT_SOURCE_DIR}/port/mbedtls")
  petrel_run(
    "Configuring mbedTLS" ${work}/mbedtls.log
    ${CMAKE_COMMAND} -S ${source} -B ${work}/mbedtls-build -G Ninja -DCMAKE_BUILD_TYPE=None
    -DCMAKE_C_COMPILER=${PETREL_DEPS_C_COMPILER} "-DCMAKE_C_FLAGS=${PETREL_DEPS_C_FLAGS} ${defines}"
    ${PETREL_DEPS_AR_ARGS} -DENABLE_TESTING=OFF -DENABLE_PROGRAMS=OFF
    -DUSE_SHARED_MBEDTLS_LIBRARY=OFF -DDISABLE_PACKAGE_CONFIG_AND_INSTALL=OFF
    -DMBEDTLS_FATAL_WARNINGS=OFF
    -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=${PROJECT_SOURCE_DIR}/port/mbedtls/speed.cmake
    -DCMAKE_INSTALL_PREFIX=${prefix} -DCMAKE_INSTALL_LIBDIR=lib)
  petrel_run("Building mbedTLS" ${work}/mbedtls-make.log ${CMAKE_COMMAND} --build
             ${work}/mbedtls-build --target install)
endfunction()

function(petrel_build_lws work prefix role config)
  petrel_unpack(libwebsockets ${work} source)
  petrel_patch(${source} ${PETREL_PATCHES} ${work}/lws-patch.log)
  set(defines "-DMBEDTLS_CONFIG_FILE='\"${config}\"' -I${PROJECT_SOURCE_DIR}/port/mbedtls")
  set(libs ${prefix}/lib/libmbedtls.a ${prefix}/lib/libmbedx509.a ${prefix}/lib/libmbedcrypto.a)
  # The function probes link against the three single variables, not against the list.
  petrel_run(
    "Configuring libwebsockets" ${work}/lws.log
    ${CMAKE_COMMAND} -S ${source} -B ${work}/lws-build -G Ninja -DCMAKE_BUILD_TYPE=None
    -DCMAKE_C_COMPILER=${PETREL_DEPS_C_COMPILER} "-DCMAKE_C_FLAGS=${PETREL_DEPS_C_FLAGS} ${defines}"
    ${PETREL_DEPS_AR_ARGS} "-DLWS_MBEDTLS_LIBRARIES=${libs}"
    -DLWS_MBEDTLS_INCLUDE_DIRS=${prefix}/include -DMBEDTLS_LIBRARY=${prefix}/lib/libmbedtls.a
    -DMBEDX509_LIBRARY=${prefix}/lib/libmbedx509.a
    -DMBEDCRYPTO_LIBRARY=${prefix}/lib/libmbedcrypto.a -DCMAKE_INSTALL_PREFIX=${prefix}
    -DCMAKE_INSTALL_LIBDIR=lib ${PETREL_LWS_OPTIONS} ${PETREL_LWS_OPTIONS_${role}})
  petrel_run("Building libwebsockets" ${work}/lws-make.log ${CMAKE_COMMAND} --build
             ${work}/lws-build --target install)
endfunction()

# Installs one variant under the cache, once, whoever asks first.
function(petrel_tls_prefix role config out)
  petrel_deps_key(${role} key)
  set(prefix ${PETREL_CACHE_DIR}/${role}-${key})
  file(MAKE_DIRECTORY ${PETREL_CACHE_DIR}/archives)
  file(LOCK ${PETREL_CACHE_DIR}/lock GUARD FUNCTION TIMEOUT 1800)
  if(NOT EXISTS ${prefix}/complete)
    message(STATUS "Building mbedTLS and libwebsockets (${role}); kept in ${prefix}")
    set(work ${PETREL_CACHE_DIR}/work-${role}-${key})
    file(REMOVE_RECURSE ${work} ${prefix})
    file(MAKE_DIRECTORY ${work})
    petrel_build_mbedtls(${work} ${prefix} ${config})
    petrel_build_lws(${work} ${prefix} ${role} ${config})
    file(REMOVE_RECURSE ${work})
    file(TOUCH ${prefix}/complete)
  endif()
  set(${out} ${prefix} PARENT_SCOPE)
endfunction()

find_package(Threads REQUIRED)

# Archives as targets, so that CMake keeps the order in which they refer to each other.
function(petrel_archive_target target file)
  add_library(${target} STATIC IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${file})
  target_link_libraries(${target} INTERFACE ${ARGN})
endfunction()

function(petrel_tls_targets prefix config crypto tls lws)
  petrel_archive_target(${crypto} ${prefix}/lib/libmbedcrypto.a Threads::Threads)
  target_include_directories(${crypto} SYSTEM INTERFACE ${prefix}/include
                             ${PROJECT_SOURCE_DIR}/port/mbedtls)
  target_compile_definitions(${crypto} INTERFACE MBEDTLS_CONFIG_FILE="${config}")
  petrel_archive_target(${tls}_x509 ${prefix}/lib/libmbedx509.a ${crypto})
  petrel_archive_target(${tls} ${prefix}/lib/libmbedtls.a ${tls}_x509)
  petrel_archive_target(${lws} ${prefix}/lib/libwebsockets.a ${tls})
endfunction()

petrel_tls_prefix(client petrel_agent_config.h client_prefix)
petrel_tls_targets(${client_prefix} petrel_agent_config.h petrel::mbedcrypto
                   petrel::mbedtls_client petrel::lws_client)
if(PETREL_TESTS)
  petrel_tls_prefix(server petrel_tools_config.h server_prefix)
  petrel_tls_targets(${server_prefix} petrel_tools_config.h petrel::mbedcrypto_tools
                     petrel::mbedtls petrel::lws_server)
endif()

# -- inih --------------------------------------------------------------------------------------------

function(petrel_inih_source out)
  petrel_lock_entry(inih)
  set(parent ${PETREL_CACHE_DIR}/inih-${lock_version})
  file(LOCK ${PETREL_CACHE_DIR}/lock GUARD FUNCTION TIMEOUT 1800)
  if(NOT EXISTS ${parent}/complete)
    petrel_unpack(inih ${parent} made)
    file(TOUCH ${parent}/complete)
  endif()
  file(GLOB made ${parent}/inih/*)
  set(${out} ${made} PARENT_SCOPE)
endfunction()

petrel_inih_source(inih_source)
add_library(petrel_inih STATIC ${inih_source}/ini.c)
target_include_directories(petrel_inih SYSTEM PUBLIC ${inih_source})
# Debian's build cuts lines at 200 bytes and reads the rest as another key; a continued line would
# hide a mistake.
target_compile_definitions(
  petrel_inih PUBLIC INI_MAX_LINE=8192 INI_INITIAL_ALLOC=8192 INI_USE_STACK=0 INI_ALLOW_REALLOC=0
                     INI_ALLOW_MULTILINE=0
                     INI_ALLOW_BOM=1 INI_ALLOW_INLINE_COMMENTS=0 INI_HANDLER_LINENO=1
                     INI_STOP_ON_FIRST_ERROR=0)
target_compile_options(petrel_inih PRIVATE -w)
add_library(petrel::inih ALIAS petrel_inih)
