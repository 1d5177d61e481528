// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lists.hpp"

#include <algorithm>

int Lists::give(void* data, int /*number_of_lists*/, const double* /*cutoffs*/, int /*list*/, int particle, int* count,
                const int** neighbours) {
    Lists& lists = *static_cast<Lists*>(data);
    lists.forget();
    const bool tricks = lists.trick != Trick::none && lists.requests_ >= lists.trick_at;
    ++lists.requests_;
    if (tricks) {
        *count = lists.trick_count;
        *neighbours = nullptr;
        return lists.trick == Trick::fails ? 1 : 0;
    }
    if (particle < 0 || particle >= static_cast<int>(lists.of_particle.size())) {
        return 1;
    }
    const std::vector<int>& list = lists.of_particle[static_cast<std::size_t>(particle)];
    lists.handed_out_.reset(new int[list.size()]);
    std::copy(list.begin(), list.end(), lists.handed_out_.get());
    *count = static_cast<int>(list.size());
    *neighbours = lists.handed_out_.get();
    return 0;
}

void Lists::forget() {
    handed_out_.reset();
}
