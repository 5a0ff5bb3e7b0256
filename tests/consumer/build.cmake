# Installs flatland for the other kinds, or builds and runs a project that uses it.
#   cmake -D kind=install|find_package|add_subdirectory|pkg_config -D source=... -D binary=... -D work=...
#         -D prefix=... -D cxx=... -D generator=... -D build_type=... -P build.cmake
foreach(name kind source binary work prefix cxx generator build_type)
  if(NOT DEFINED ${name} OR "${${name}}" STREQUAL "")
    message(FATAL_ERROR "build.cmake: ${name} is not given")
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGV} WORKING_DIRECTORY ${work} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "failed (${status}): ${command}")
  endif()
endfunction()

file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})
if(kind STREQUAL "install")
  file(REMOVE_RECURSE ${prefix})
  run(${CMAKE_COMMAND} --install ${binary} --prefix ${prefix})
  return()
endif()

file(COPY ${source}/tests/consumer/main.cpp DESTINATION ${work})
file(GLOB library_dirs ${prefix}/lib ${prefix}/lib/*-linux-gnu ${prefix}/lib64)

if(kind STREQUAL "pkg_config")
  foreach(dir IN LISTS library_dirs)
    list(APPEND pc_path ${dir}/pkgconfig)
  endforeach()
  list(JOIN pc_path ":" pc_path)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${pc_path} pkg-config --cflags --libs flatland
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  message("flags: ${flags}")
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${cxx} -std=c++20 main.cpp ${flags} -o app)
  list(JOIN library_dirs ":" library_path)
  run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${library_path} ./app)
  return()
endif()

file(COPY ${source}/tests/consumer/${kind}/CMakeLists.txt DESTINATION ${work})
if(kind STREQUAL "find_package")
  set(where -D CMAKE_PREFIX_PATH=${prefix})
else()
  # What is proven here is that it builds; hot code need not be fast.
  set(where -D FLATLAND_KERNEL_OPTIMIZATION=-O0)
  file(CREATE_LINK ${source} ${work}/flatland SYMBOLIC)
endif()
run(${CMAKE_COMMAND} -S . -B build -G ${generator} -D CMAKE_CXX_COMPILER=${cxx} -D CMAKE_BUILD_TYPE=${build_type} ${where})
run(${CMAKE_COMMAND} --build build --target app --parallel 2)
run(build/app)
