// SPDX-License-Identifier: LGPL-2.1-or-later
#include "configuration.hpp"

#include <fstream>
#include <stdexcept>

Configuration read_configuration(const std::string& path) {
    std::ifstream file(path);
    int n = 0;
    file >> n;
    Configuration configuration;
    for (int i = 0; i < n; ++i) {
        int code = 0;
        int contributing = 0;
        double x = 0.0;
        double y = 0.0;
        double z = 0.0;
        file >> code >> contributing >> x >> y >> z;
        configuration.species_codes.push_back(code);
        configuration.contributing.push_back(contributing);
        configuration.coordinates.insert(configuration.coordinates.end(), {x, y, z});
    }
    if (!file) {
        throw std::runtime_error("cannot read " + std::to_string(n) + " particles from '" + path + "'");
    }
    return configuration;
}

void displace(Configuration* configuration, double amplitude, std::mt19937* random) {
    std::uniform_real_distribution<double> displacement(-amplitude, amplitude);
    for (double& coordinate : configuration->coordinates) {
        coordinate += displacement(*random);
    }
}

void NeighbourLists::build(const Configuration& configuration, double reach) {
    const int n = configuration.n();
    lists_.assign(static_cast<std::size_t>(n), {});
    requests_.assign(static_cast<std::size_t>(n), 0);
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            double squared = 0.0;
            for (int axis = 0; axis < 3; ++axis) {
                const auto a = static_cast<std::size_t>(axis);
                const double difference = configuration.coordinates[3 * static_cast<std::size_t>(j) + a] -
                                          configuration.coordinates[3 * static_cast<std::size_t>(i) + a];
                squared += difference * difference;
            }
            if (i != j && squared <= reach * reach) {
                lists_[static_cast<std::size_t>(i)].push_back(j);
            }
        }
    }
}

const std::vector<int>& NeighbourLists::of(int particle) {
    ++requests_.at(static_cast<std::size_t>(particle));
    return lists_[static_cast<std::size_t>(particle)];
}
