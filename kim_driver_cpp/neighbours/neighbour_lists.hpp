// SPDX-License-Identifier: LGPL-2.1-or-later
// Neighbour lists as flat arrays, filtered to the cutoff, and the edges of message-passing models. This code knows
// neither KIM nor Python. It needs no hash tables: it counts first, allocates and then fills.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

namespace kim_torchml {

struct Configuration {
    int n = 0;
    const double* coordinates = nullptr;         // [n, 3], Å
    const std::int32_t* contributing = nullptr;  // [n], 1 = contributing
};

// A borrowed list of neighbours, valid until the next one is asked for.
struct NeighbourList {
    int count = 0;
    const int* particles = nullptr;
};

// Gives the neighbours of a particle; throws where it cannot. Lists may hold particles beyond the cutoff.
using NeighbourSource = std::function<NeighbourList(int particle)>;

// An array on the heap that another owner can take over. Its values are not initialised.
template <class Value>
struct HeapArray {
    HeapArray() = default;
    explicit HeapArray(std::size_t count) : size(count), values(new Value[count]) {}

    std::size_t size = 0;
    std::unique_ptr<Value[]> values;
};

// Neighbours of the contributing particles, in ascending order.
struct ContributingNeighbours {
    HeapArray<std::int32_t> counts;      // [contributing]
    HeapArray<std::int32_t> neighbours;  // [sum of counts]
};

// The edges of one stage as an array [2, count]: the first particle of every edge, then the second of every edge.
// They are sorted by (first, second).
using Edges = HeapArray<std::int64_t>;

// Edges of rows, sorted by the particles (centre, neighbour). Rows are what a model sees; forces act on particles.
struct RowEdges {
    RowEdges() = default;
    explicit RowEdges(std::size_t count) : rows(2 * count), particles(2 * count), vectors(3 * count) {}

    Edges rows;                 // [2, E]: rows of centre and neighbour
    Edges particles;            // [2, E]: the particles that these rows stand for
    HeapArray<double> vectors;  // [E, 3], from centre to neighbour, Å
};

// One set of edges for all layers, in which each row stands for one particle.
struct LayeredEdges {
    HeapArray<std::int64_t> particle_of_row;  // [rows], ascending
    RowEdges edges;
};

// What a configuration is extreme in, of the lists that were asked for; particles are -1 where there are none.
struct Extremes {
    int closest_first = -1;  // these two are the closest pair
    int closest_second = -1;
    double distance_squared = std::numeric_limits<double>::infinity();
    int most_particle = -1;  // this particle has the most neighbours
    std::int64_t most_neighbours = -1;
};

// Finds neighbours and edges. Its scratch memory belongs to one set of compute arguments and is kept from step to step;
// one thread at a time may use it.
class NeighbourLists {
  public:
    // Throws std::invalid_argument if the cutoff is not positive.
    void reset(const Configuration& configuration, NeighbourSource source, double cutoff);

    // Throws std::out_of_range if the source names a particle that is not there, or more than there are.
    ContributingNeighbours of_contributing_particles();

    // E_1 ... E_L of a graph model of L layers. With A_1 = the contributing particles,
    // E_k = {(i, j), (j, i) : i in A_k, j a neighbour of i within the cutoff} and
    // A_(k+1) = {j : j within the cutoff of some i in A_k}.
    std::vector<Edges> staged_edges(int n_layers);

    // The edges of the last of L layers, where every particle that is reached in fewer than L steps has all its edges.
    LayeredEdges layered_edges(int n_layers);

    // The edges from contributing particles, which serve any number of layers where the row of an image is that of its
    // owner. row_of_particle [n] is -1 where a particle has no row; nothing is returned if an edge leads to such a one.
    // Throws std::invalid_argument if an entry is neither -1 nor less than n.
    std::optional<RowEdges> folded_edges(const std::int64_t* row_of_particle);

    // Tells of each particle, [n], whether it contributes or is within the cutoff of one that does.
    HeapArray<bool> reached();

    // Of all lists that have been asked for since `reset`.
    const Extremes& extremes() const {
        return extremes_;
    }

  private:
    struct Span {
        std::int64_t begin;
        std::int64_t end;
    };

    Span filtered(int particle);
    const double* position(int particle) const {
        // Three times a particle's number may overflow an int.
        return configuration_.coordinates + 3 * static_cast<std::ptrdiff_t>(particle);
    }
    void keep_within_cutoff(int particle, const NeighbourList& list);
    Edges edges_of_stage(const std::vector<int>& members);
    std::size_t count_edges(const std::vector<int>& members);
    template <class Write>
    void place_edges(const std::vector<int>& members, Write write);
    std::vector<int> reached_from(const std::vector<int>& members);
    std::vector<int> reached_within(int n_steps);
    HeapArray<std::int64_t> number_rows();
    std::vector<int> contributing_particles() const;
    void check_rows(const std::int64_t* row_of_particle) const;

    Configuration configuration_;
    NeighbourSource source_;
    double cutoff_squared_ = 0.0;
    Extremes extremes_;

    std::vector<int> flat_;                 // filtered lists, one after the other
    std::vector<Span> span_;                // [n], each particle's part of flat_; begin = -1 before it was asked for
    std::vector<unsigned char> is_member_;  // [n]
    std::vector<std::int64_t> fill_;        // [n + 1], place of each particle's next edge
    std::vector<std::int64_t> row_of_;      // [n], row of each particle; -1 where it has none
};

}  // namespace kim_torchml
