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
    extremes_ = Extremes{};
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
        const double distance_squared = dx * dx + dy * dy + dz * dz;
        if (distance_squared <= cutoff_squared_) {
            flat_.push_back(other);
            if (distance_squared < extremes_.distance_squared) {
                extremes_.distance_squared = distance_squared;
                extremes_.closest_first = particle;
                extremes_.closest_second = other;
            }
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
        if (span.end - span.begin > extremes_.most_neighbours) {
            extremes_.most_neighbours = span.end - span.begin;
            extremes_.most_particle = particle;
        }
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

namespace {

void check_layers(int n_layers) {
    if (n_layers < 1) {
        throw std::invalid_argument("`n_layers` must be at least 1, got " + std::to_string(n_layers));
    }
}

}  // namespace

std::vector<Edges> NeighbourLists::staged_edges(int n_layers) {
    check_layers(n_layers);
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

RowEdges NeighbourLists::row_edges(int n_layers) {
    check_layers(n_layers);
    return with_rows(edges_of_stage(reached_within(n_layers - 1)));
}

// Contributing particles, and those reached from them in at most so many steps, in ascending order.
std::vector<int> NeighbourLists::reached_within(int n_steps) {
    std::vector<int> members = contributing_particles();
    std::vector<int> newest = members;
    std::vector<unsigned char> is_inside(static_cast<std::size_t>(configuration_.n), 0);
    for (const int i : members) {
        is_inside[static_cast<std::size_t>(i)] = 1;
    }
    for (int step = 0; step < n_steps && !newest.empty(); ++step) {
        std::vector<int> reached;
        for (const int j : reached_from(newest)) {
            if (is_inside[static_cast<std::size_t>(j)] == 0) {
                is_inside[static_cast<std::size_t>(j)] = 1;
                reached.push_back(j);
            }
        }
        members.insert(members.end(), reached.begin(), reached.end());
        newest = std::move(reached);
    }
    std::sort(members.begin(), members.end());
    return members;
}

// Numbers the particles that the edges join, and the contributing ones, which may have no edge.
RowEdges NeighbourLists::with_rows(Edges particles) {
    const auto n = static_cast<std::size_t>(configuration_.n);
    const std::size_t count = particles.size / 2;
    // fill_[p] is the row of particle p.
    fill_.assign(n, -1);
    for (std::size_t p = 0; p < n; ++p) {
        if (configuration_.contributing[p] != 0) {
            fill_[p] = 0;
        }
    }
    // Both directions of every pair are there, so the centres are all particles that are joined.
    for (std::size_t e = 0; e < count; ++e) {
        fill_[static_cast<std::size_t>(particles.values[e])] = 0;
    }
    std::int64_t n_rows = 0;
    for (std::size_t p = 0; p < n; ++p) {
        if (fill_[p] == 0) {
            fill_[p] = n_rows++;
        }
    }
    RowEdges edges;
    edges.particle_of_row = HeapArray<std::int64_t>(static_cast<std::size_t>(n_rows));
    for (std::size_t p = 0; p < n; ++p) {
        if (fill_[p] >= 0) {
            edges.particle_of_row.values[static_cast<std::size_t>(fill_[p])] = static_cast<std::int64_t>(p);
        }
    }
    edges.rows = Edges(2 * count);
    edges.vectors = HeapArray<double>(3 * count);
    for (std::size_t k = 0; k < 2 * count; ++k) {
        edges.rows.values[k] = fill_[static_cast<std::size_t>(particles.values[k])];
    }
    for (std::size_t e = 0; e < count; ++e) {
        const double* const centre = configuration_.coordinates + 3 * particles.values[e];
        const double* const neighbour = configuration_.coordinates + 3 * particles.values[count + e];
        for (std::size_t axis = 0; axis < 3; ++axis) {
            edges.vectors.values[3 * e + axis] = neighbour[axis] - centre[axis];
        }
    }
    edges.particles = std::move(particles);
    return edges;
}

}  // namespace kim_torchml
