// Objects of the extension's classes, made by functions, not by their constructors.
//
// Where memory runs out while pybind11 registers an object that a constructor made, it ends the process;
// in a function's result it throws. It then frees the object without its destructor: with an owner of
// ours it would be freed twice, so what it held is lost instead.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

namespace homfast {

template <class T, class... Arguments>
pybind11::object make_object(Arguments&&... arguments) {
  return pybind11::cast(new T(std::forward<Arguments>(arguments)...),
                        pybind11::return_value_policy::take_ownership);
}

}  // namespace homfast
