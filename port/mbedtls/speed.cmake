# Given to mbedTLS's own CMake as CMAKE_PROJECT_TOP_LEVEL_INCLUDES: the ciphers at -O2 while the rest
# is at -Os. Costs 8 KB; ChaCha20-Poly1305, the choice where there are no AES instructions, becomes
# 1.6 times as fast. All of mbedTLS at -O2 would cost 61 KB and give nothing more.
function(petrel_ciphers_fast)
  list(TRANSFORM ARGN PREPEND ${CMAKE_SOURCE_DIR}/library/ OUTPUT_VARIABLE files)
  set_source_files_properties(${files} TARGET_DIRECTORY mbedcrypto PROPERTIES COMPILE_OPTIONS -O2)
endfunction()
cmake_language(DEFER CALL petrel_ciphers_fast aes.c aesce.c aesni.c chacha20.c chachapoly.c gcm.c
                          poly1305.c)
