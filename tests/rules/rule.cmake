# Shared by the rules: `source` is the tree to look at; violations are collected and end the script at its end.
cmake_minimum_required(VERSION 3.25)
if(NOT IS_DIRECTORY "${source}")
  message(FATAL_ERROR "there is no source folder '${source}'")
endif()
set(layers kernels engine models dr)
set(word_start "(^|[^A-Za-z0-9_])")

# The files that match; none is an error, so that a rule cannot pass by looking at nothing.
function(files_of result)
  list(TRANSFORM ARGN PREPEND ${source}/ OUTPUT_VARIABLE patterns)
  file(GLOB found RELATIVE ${source} ${patterns})
  if(NOT found)
    message(FATAL_ERROR "found no file like ${ARGN} in ${source}")
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# code_files_of(<layer> <result>): all its code, of every kind and depth. No rule may look at fewer kinds.
function(code_files_of layer result)
  file(GLOB_RECURSE found RELATIVE ${source} ${source}/${layer}/*.h ${source}/${layer}/*.cpp ${source}/${layer}/*.cu
    ${source}/${layer}/*.cuh)
  if(NOT found)
    message(FATAL_ERROR "found no code in ${source}/${layer}")
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# The text of a file without its // comments.
function(code_of file result)
  file(READ ${source}/${file} text)
  string(REGEX REPLACE "//[^\n]*" "" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(violation)
  message(SEND_ERROR ${ARGN})
endfunction()
