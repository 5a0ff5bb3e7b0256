# Installs flatland for the other kinds, or builds and runs a project that uses it.
#   cmake -D kind=install|find_package|add_subdirectory|pkg_config -D source=... -D binary=... -D work=...
#         -D prefix=... -D libdir=... -D cxx=... -D generator=... -D build_type=... -P build.cmake
foreach(name kind source binary work prefix libdir cxx generator build_type)
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
if(NOT kind STREQUAL "add_subdirectory")
  # The page's own commands, in a home that has the installation where they put it.
  file(MAKE_DIRECTORY ${work}/user ${work}/bin)
  file(CREATE_LINK ${prefix} ${work}/user/.local SYMBOLIC)
  file(CREATE_LINK ${cxx} ${work}/bin/c++ SYMBOLIC)
  file(READ ${source}/README.md readme)
endif()
function(run_command_of_page pattern)  # the first group is the command
  if(NOT readme MATCHES "${pattern}")
    message(FATAL_ERROR "README.md has nothing like '${pattern}'")
  endif()
  string(REPLACE "/lib/" "/${libdir}/" command "${CMAKE_MATCH_1}")
  message("$ ${command}")
  run(${CMAKE_COMMAND} -E env HOME=${work}/user PATH=${work}/bin:$ENV{PATH} CXX=${cxx} CMAKE_GENERATOR=${generator}
    CMAKE_BUILD_TYPE=${build_type} CMAKE_BUILD_PARALLEL_LEVEL=2 bash -e -c "${command}")
endfunction()

if(kind STREQUAL "pkg_config")
  run_command_of_page("```sh\n([^`]*pkg-config --cflags[^`]*)```")
  run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${prefix}/${libdir} ./app)
  return()
endif()

file(COPY ${source}/tests/consumer/${kind}/CMakeLists.txt DESTINATION ${work})
if(kind STREQUAL "find_package")
  run_command_of_page("`(cmake -B build [^`]*)`")
else()
  # What is proven here is that it builds; hot code need not be fast.
  file(CREATE_LINK ${source} ${work}/flatland SYMBOLIC)
  set(configure ${CMAKE_COMMAND} -B build -G ${generator} -D CMAKE_CXX_COMPILER=${cxx}
    -D FLATLAND_KERNEL_OPTIMIZATION=-O0 -D FLATLAND_ISA_LEVELS=v1 -D FLATLAND_PRECOMPILE=ON
    -D FLATLAND_UNITY_BUILD=ON)
  # First as a project that asks for nothing.
  file(READ ${work}/CMakeLists.txt asking)
  string(REPLACE "set(FLATLAND_OPENMP AUTO)\n" "" silent "${asking}")
  file(WRITE ${work}/CMakeLists.txt "${silent}")
  run(${configure} -D expected_threads=OFF)
  file(WRITE ${work}/CMakeLists.txt "${asking}")
  run(${configure} -D expected_threads=ON)
  run(${CMAKE_COMMAND} --build build --target app --parallel 2)
endif()
run(build/app)
