// SPDX-License-Identifier: LGPL-2.1-or-later
// A model's parameters. KIM writes into the arrays that Python made, and does not tell which of them it has changed.
#pragma once

#include <pybind11/pybind11.h>

#include <KIM_ModelDriverHeaders.hpp>
#include <cstddef>
#include <string>
#include <vector>

namespace kim_torchml {

class Parameters {
  public:
    // Keeps pointers into the arrays of Python's parameters, which must outlive this. Needs the GIL.
    void read(const pybind11::list& parameters);

    void register_with(KIM::ModelDriverCreate* driver_create);

    // Indices of the parameters that differ, in any bit, from the values that were accepted last.
    std::vector<int> changed_indices() const;
    // Accepts all values as they are now.
    void accept();
    // Restores the values that were accepted last.
    void set_back();

  private:
    struct Parameter {
        std::string name;
        std::string description;
        bool is_integer;
        int extent;
        void* values;                         // [extent] int or double
        std::vector<unsigned char> accepted;  // bytes of the values that were accepted last
    };
    std::vector<Parameter> parameters_;
};

}  // namespace kim_torchml
