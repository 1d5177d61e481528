// SPDX-License-Identifier: LGPL-2.1-or-later
// Neighbour lists as a simulator gives them through its callback: sound, or not.
#pragma once

#include <memory>
#include <vector>

// What the callback does instead of giving a list.
enum class Trick { none, fails, null, null_without_count };

class Lists {
  public:
    std::vector<std::vector<int>> of_particle;
    Trick trick = Trick::none;
    int trick_at = 0;     // the request, from 0, at which it does so
    int trick_count = 0;  // the number of neighbours it then claims

    // KIM's callback; `data` is a Lists. A list lives until the next one is asked for, as KIM has it.
    static int give(void* data, int number_of_lists, const double* cutoffs, int list, int particle, int* count,
                    const int** neighbours);

    int requests() const {
        return requests_;
    }
    // Frees the list that was handed out last.
    void forget();

  private:
    int requests_ = 0;
    std::unique_ptr<int[]> handed_out_;
};
