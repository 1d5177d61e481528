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
    const double x = position(particle)[0];
    const double y = position(particle)[1];
    const double z = position(particle)[2];
    const int n = configuration_.n;
    if (list.count > n) {
        throw std::out_of_range("the simulator's neighbour list of particle " + std::to_string(particle) + " has " +
                                std::to_string(list.count) + " neighbours, but there are " + std::to_string(n) +
                                " particles");
    }
    double smallest = extremes_.distance_squared;
    // There is room for all, so that each is written, and the next one over it where it is too far: a branch would be
    // mispredicted again and again, as simulators' lists reach well beyond the cutoff.
    const std::size_t begin = flat_.size();
    flat_.resize(begin + static_cast<std::size_t>(list.count));
    int* end = flat_.data() + begin;
    for (int k = 0; k < list.count; ++k) {
        const int other = list.particles[k];
        if (other < 0 || other >= n) {
            throw std::out_of_range("the simulator's neighbour list of particle " + std::to_string(particle) +
                                    " names particle " + std::to_string(other) + ", but there are " +
                                    std::to_string(n) + " particles");
        }
        const double* there = position(other);
        const double dx = there[0] - x;
        const double dy = there[1] - y;
        const double dz = there[2] - z;
        const double distance_squared = dx * dx + dy * dy + dz * dz;
        const bool is_within = distance_squared <= cutoff_squared_;
        *end = other;
        end += is_within ? 1 : 0;
        if (distance_squared < smallest && is_within) {
            smallest = distance_squared;
            extremes_.distance_squared = distance_squared;
            extremes_.closest_first = particle;
            extremes_.closest_second = other;
        }
    }
    flat_.resize(static_cast<std::size_t>(end - flat_.data()));
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

Edges NeighbourLists::edges_of_stage(const std::vector<int>& members) {
    const std::size_t count = count_edges(members);
    Edges edges(2 * count);
    std::int64_t* const first = edges.values.get();
    std::int64_t* const second = first + count;
    place_edges(members, [first, second](std::size_t place, int centre, int neighbour) {
        first[place] = centre;
        second[place] = neighbour;
    });
    return edges;
}

// Each member i gives the edges (i, j) of its own list. The reverse edge (j, i) is added only where j is no member:
// where j is one, it comes from j's own list. Sets fill_[p] to the place of p's first edge; returns their number.
std::size_t NeighbourLists::count_edges(const std::vector<int>& members) {
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
    return static_cast<std::size_t>(fill_[n]);
}

// Calls write(place, centre, neighbour) for each edge that `count_edges` has counted. fill_[p] is the place of p's next
// edge: members come in ascending order, and so do the edges of each p.
template <class Write>
void NeighbourLists::place_edges(const std::vector<int>& members, Write write) {
    for (const int i : members) {
        const Span span = filtered(i);
        auto own = static_cast<std::size_t>(fill_[static_cast<std::size_t>(i)]);
        for (std::int64_t k = span.begin; k < span.end; ++k) {
            const int j = flat_[static_cast<std::size_t>(k)];
            write(own++, i, j);
            if (is_member_[static_cast<std::size_t>(j)] == 0) {
                write(static_cast<std::size_t>(fill_[static_cast<std::size_t>(j)]++), j, i);
            }
        }
    }
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

LayeredEdges NeighbourLists::layered_edges(int n_layers) {
    check_layers(n_layers);
    const std::vector<int> members = reached_within(n_layers - 1);
    const std::size_t count = count_edges(members);
    LayeredEdges layered{number_rows(), RowEdges(count)};
    std::int64_t* const rows = layered.edges.rows.values.get();
    std::int64_t* const particles = layered.edges.particles.values.get();
    double* const vectors = layered.edges.vectors.values.get();
    place_edges(members, [this, rows, particles, vectors, count](std::size_t place, int centre, int neighbour) {
        rows[place] = row_of_[static_cast<std::size_t>(centre)];
        rows[count + place] = row_of_[static_cast<std::size_t>(neighbour)];
        particles[place] = centre;
        particles[count + place] = neighbour;
        const double* const here = position(centre);
        const double* const there = position(neighbour);
        for (std::size_t axis = 0; axis < 3; ++axis) {
            vectors[3 * place + axis] = there[axis] - here[axis];
        }
    });
    return layered;
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

// Numbers the particles that have an edge, and the members, which may have none. `count_edges` comes before.
HeapArray<std::int64_t> NeighbourLists::number_rows() {
    const auto n = static_cast<std::size_t>(configuration_.n);
    row_of_.resize(n);
    std::int64_t n_rows = 0;
    for (std::size_t p = 0; p < n; ++p) {
        // A neighbour that is no member is the centre of the reverse edge: so both ends of every edge have a row.
        const bool is_row = is_member_[p] != 0 || fill_[p + 1] > fill_[p];
        row_of_[p] = is_row ? n_rows++ : -1;
    }
    HeapArray<std::int64_t> particle_of_row(static_cast<std::size_t>(n_rows));
    for (std::size_t p = 0; p < n; ++p) {
        if (row_of_[p] >= 0) {
            particle_of_row.values[static_cast<std::size_t>(row_of_[p])] = static_cast<std::int64_t>(p);
        }
    }
    return particle_of_row;
}

}  // namespace kim_torchml
