// SPDX-License-Identifier: LGPL-2.1-or-later
// Edges where an image has its owner's row: only contributing particles are centres, however many layers there are.
#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "neighbours/neighbour_lists.hpp"

namespace kim_torchml {

void NeighbourLists::check_rows(const std::int64_t* row_of_particle) const {
    const std::int64_t n = configuration_.n;
    const auto is_wrong = [n](std::int64_t row) { return row < -1 || row >= n; };
    const std::int64_t* const wrong = std::find_if(row_of_particle, row_of_particle + n, is_wrong);
    if (wrong != row_of_particle + n) {
        throw std::invalid_argument("`row_of_particle` must be rows from 0 to " + std::to_string(n - 1) +
                                    ", or -1 where there is none, got " + std::to_string(*wrong) + " for particle " +
                                    std::to_string(wrong - row_of_particle));
    }
}

std::optional<RowEdges> NeighbourLists::folded_edges(const std::int64_t* row_of_particle) {
    check_rows(row_of_particle);
    const std::vector<int> centres = contributing_particles();
    std::size_t count = 0;
    for (const int i : centres) {
        const Span span = filtered(i);
        count += static_cast<std::size_t>(span.end - span.begin);
    }
    RowEdges edges(count);
    std::int64_t* rows = edges.rows.values.get();
    std::int64_t* particles = edges.particles.values.get();
    double* vector = edges.vectors.values.get();
    // Of all rows so far: one look in the end costs less than a branch at every edge.
    std::int64_t lowest_row = 0;
    for (const int i : centres) {
        const Span span = filtered(i);
        const std::int64_t row = row_of_particle[i];
        const double x = position(i)[0];
        const double y = position(i)[1];
        const double z = position(i)[2];
        if (span.begin < span.end) {
            lowest_row = std::min(lowest_row, row);
        }
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            const int j = flat_[static_cast<std::size_t>(k)];
            const std::int64_t other_row = row_of_particle[j];
            const double* const there = position(j);
            lowest_row = std::min(lowest_row, other_row);
            rows[0] = row;
            rows[count] = other_row;
            particles[0] = i;
            particles[count] = j;
            vector[0] = there[0] - x;
            vector[1] = there[1] - y;
            vector[2] = there[2] - z;
            ++rows;
            ++particles;
            vector += 3;
        }
    }
    if (lowest_row < 0) {
        return std::nullopt;
    }
    return edges;
}

HeapArray<bool> NeighbourLists::reached() {
    const auto n = static_cast<std::size_t>(configuration_.n);
    HeapArray<bool> is_reached(n);
    bool* const flags = is_reached.values.get();
    std::fill(flags, flags + n, false);
    for (const int i : contributing_particles()) {
        const Span span = filtered(i);
        flags[i] = true;
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            flags[flat_[static_cast<std::size_t>(k)]] = true;
        }
    }
    return is_reached;
}

}  // namespace kim_torchml
