// SPDX-License-Identifier: LGPL-2.1-or-later
#include "neighbours/neighbour_lists.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

namespace kim_torchml {

void NeighbourLists::reset(const Configuration& configuration, NeighbourSource source, double cutoff) {
    if (!(cutoff > 0.0)) {
        throw std::invalid_argument("`cutoff` must be positive, got " + std::to_string(cutoff));
    }
    configuration_ = configuration;
    source_ = std::move(source);
    cutoff_squared_ = cutoff * cutoff;
    flat_.clear();
    span_.assign(static_cast<std::size_t>(configuration.n), Span{-1, -1});
}

void NeighbourLists::keep_within_cutoff(int particle, const NeighbourList& list) {
    // Three times a particle's number may overflow an int.
    const auto position = [r = configuration_.coordinates](int i) { return r + 3 * static_cast<std::ptrdiff_t>(i); };
    const double* own = position(particle);
    for (int k = 0; k < list.count; ++k) {
        const int other = list.particles[k];
        if (other < 0 || other >= configuration_.n) {
            throw std::out_of_range("the simulator's neighbour list of particle " + std::to_string(particle) +
                                    " names particle " + std::to_string(other) + ", but there are " +
                                    std::to_string(configuration_.n) + " particles");
        }
        const double* there = position(other);
        const double dx = there[0] - own[0];
        const double dy = there[1] - own[1];
        const double dz = there[2] - own[2];
        if (dx * dx + dy * dy + dz * dz <= cutoff_squared_) {
            flat_.push_back(other);
        }
    }
}

NeighbourLists::Span NeighbourLists::filtered(int particle) {
    Span& span = span_[static_cast<std::size_t>(particle)];
    if (span.begin < 0) {
        const auto begin = static_cast<std::int64_t>(flat_.size());
        keep_within_cutoff(particle, source_(particle));
        std::sort(flat_.begin() + begin, flat_.end());
        span = {begin, static_cast<std::int64_t>(flat_.size())};
    }
    return span;
}

std::vector<int> NeighbourLists::contributing_particles() const {
    std::vector<int> particles;
    for (int i = 0; i < configuration_.n; ++i) {
        if (configuration_.contributing[i] != 0) {
            particles.push_back(i);
        }
    }
    return particles;
}

ContributingNeighbours NeighbourLists::of_contributing_particles() {
    const std::vector<int> particles = contributing_particles();
    ContributingNeighbours result;
    result.counts = HeapArray<std::int32_t>(particles.size());
    std::size_t total = 0;
    std::size_t place = 0;
    for (const int i : particles) {
        const Span span = filtered(i);
        result.counts.values[place++] = static_cast<std::int32_t>(span.end - span.begin);
        total += static_cast<std::size_t>(span.end - span.begin);
    }
    result.neighbours = HeapArray<std::int32_t>(total);
    std::int32_t* out = result.neighbours.values.get();
    for (const int i : particles) {
        const Span span = filtered(i);
        out = std::copy(flat_.begin() + span.begin, flat_.begin() + span.end, out);
    }
    return result;
}

std::vector<Edges> NeighbourLists::staged_edges(int n_layers) {
    if (n_layers < 1) {
        throw std::invalid_argument("`n_layers` must be at least 1, got " + std::to_string(n_layers));
    }
    std::vector<Edges> stages;
    std::vector<int> members = contributing_particles();
    for (int layer = 0; layer < n_layers; ++layer) {
        stages.push_back(edges_of_stage(members));
        if (layer + 1 < n_layers) {
            members = reached_from(members);
        }
    }
    return stages;
}

// Each member i gives the edges (i, j) of its own list. The reverse edge (j, i) is added only where j is no member:
// where j is one, it comes from j's own list.
Edges NeighbourLists::edges_of_stage(const std::vector<int>& members) {
    const auto n = static_cast<std::size_t>(configuration_.n);
    is_member_.assign(n, 0);
    for (const int i : members) {
        is_member_[static_cast<std::size_t>(i)] = 1;
    }
    fill_.assign(n + 1, 0);
    for (const int i : members) {
        const Span span = filtered(i);
        fill_[static_cast<std::size_t>(i) + 1] = span.end - span.begin;
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            const auto j = static_cast<std::size_t>(flat_[static_cast<std::size_t>(k)]);
            if (is_member_[j] == 0) {
                ++fill_[j + 1];
            }
        }
    }
    for (std::size_t p = 0; p < n; ++p) {
        fill_[p + 1] += fill_[p];
    }
    const auto count = static_cast<std::size_t>(fill_[n]);
    Edges edges(2 * count);
    std::int64_t* const first = edges.values.get();
    std::int64_t* const second = first + count;
    // fill_[p] is the place of p's next edge. Members come in ascending order, and so do the edges of each p.
    for (const int i : members) {
        const Span span = filtered(i);
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            const int j = flat_[static_cast<std::size_t>(k)];
            const auto own = static_cast<std::size_t>(fill_[static_cast<std::size_t>(i)]++);
            first[own] = i;
            second[own] = j;
            if (is_member_[static_cast<std::size_t>(j)] == 0) {
                const auto back = static_cast<std::size_t>(fill_[static_cast<std::size_t>(j)]++);
                first[back] = j;
                second[back] = i;
            }
        }
    }
    return edges;
}

std::vector<int> NeighbourLists::reached_from(const std::vector<int>& members) {
    is_member_.assign(static_cast<std::size_t>(configuration_.n), 0);
    for (const int i : members) {
        const Span span = filtered(i);
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            is_member_[static_cast<std::size_t>(flat_[static_cast<std::size_t>(k)])] = 1;
        }
    }
    std::vector<int> reached;
    for (int i = 0; i < configuration_.n; ++i) {
        if (is_member_[static_cast<std::size_t>(i)] != 0) {
            reached.push_back(i);
        }
    }
    return reached;
}

}  // namespace kim_torchml
