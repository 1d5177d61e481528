// SPDX-License-Identifier: LGPL-2.1-or-later
// A model's parameters: KIM writes into the arrays that Python made, and tells nobody which.
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

    // Indices of those that differ, in any bit, from what was accepted last.
    std::vector<int> changed() const;
    // Takes all values as they are.
    void accept();
    // Restores what was accepted last.
    void set_back();

  private:
    struct Parameter {
        std::string name;
        std::string description;
        bool is_integer;
        int extent;
        void* values;                         // [extent] int or double
        std::vector<unsigned char> accepted;  // its bytes
    };
    std::vector<Parameter> parameters_;
};

}  // namespace kim_torchml
