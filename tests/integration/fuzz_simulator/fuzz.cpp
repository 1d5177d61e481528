// SPDX-License-Identifier: LGPL-2.1-or-later
// A KIM simulator that does everything wrong, by chance. It checks all that comes of it, and reports on stdout.
// It is linked with AddressSanitizer and UndefinedBehaviorSanitizer, as the driver must be; stderr must be a file that
// is open for reading too.
//
//   fuzz run [MODEL SEED COUNT]..
//                               COUNT odd calls, each followed by the sound one, which must give what it gave before;
//                               one model after the other
//   fuzz periodic [MODEL SEED COUNT]..
//                               as run, with periodic particles, for KIM_TORCHML_EDGES=folded
//   fuzz large MODEL N          N particles, all but some far away
//   fuzz vast MODEL             as many particles as there are ints, almost
//   fuzz mistakes MODEL KIND..  mistakes of this simulator's own, which must be found out; the last one spoils the rest
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "call.hpp"
#include "odd_calls.hpp"
#include "said.hpp"
#include "violation.hpp"

namespace {

constexpr double skin = 0.5;  // Å
constexpr int n_particles = 18;
constexpr int n_periodic_particles = 8;  // without their images
constexpr double edge = 6.0;             // Å

using Words = std::vector<std::string>;

// Outputs are compared bit for bit; further particles must have zeros.
void require_same(const Results& found, const Results& reference) {
    require(found.succeeded, "it must succeed");
    for (std::size_t k = 0; k < reference.outputs.size(); ++k) {
        const std::vector<double>& expected = reference.outputs[k];
        const std::vector<double>& values = found.outputs[k];
        if (values.empty()) {
            continue;
        }
        require(std::memcmp(values.data(), expected.data(), sizeof(double) * expected.size()) == 0,
                "an output is not what it was before");
        for (std::size_t i = expected.size(); i < values.size(); ++i) {
            require(values[i] == 0.0, "an output of a particle far away must be zero");
        }
    }
}

// A model, and its compute arguments, which are destroyed and created anew now and then.
class Session {
  public:
    Session(const std::string& name, Chance* chance, bool is_periodic = false)
        : name_(name), chance_(chance), odd_calls_(::odd_calls(is_periodic)) {
        create_model();
        const int n_species = model_->n_species();
        const double reach = model_->cutoff() + skin;
        Particles particles = is_periodic ? periodic_particles(n_periodic_particles, edge, reach, n_species, chance)
                                          : random_particles(n_particles, edge, n_species, chance);
        sound_ = {std::move(particles), reach, n_species, arguments_->outputs().size(), is_periodic};
        reference_ = compute_sound();
    }

    const std::vector<OddCall>& odd_calls() const {
        return odd_calls_;
    }
    Call sound_call(const std::string& name = "sound") const {
        return {name, sound_.particles, sound_.reach};
    }
    Results compute_sound() {
        Call call = sound_call();
        return arguments_->compute(&call);
    }
    void check_sound() {
        require_same(compute_sound(), reference_);
    }
    void do_odd_call(const OddCall& odd) {
        Call call = sound_call(odd.name);
        odd.make(&call, sound_, chance_);
        const Results results = arguments_->compute(&call);
        if (odd.gives_the_same) {
            require_same(results, reference_);
        }
        ++(results.succeeded ? succeeded_ : refused_)[odd.name];
    }

    // What simulators do between computes.
    void change_something() {
        if (chance_->one_in(20)) {
            arguments_ = std::make_unique<ComputeArguments>(*model_);
        }
        if (chance_->one_in(20)) {
            ComputeArguments others(*model_);
            Call call = sound_call();
            require_same(others.compute(&call), reference_);
        }
        if (chance_->one_in(20)) {
            require(model_->kim()->ClearThenRefresh() == 0, "a refresh must succeed");
        }
        if (chance_->one_in(20)) {
            refuse_refresh();
        }
        if (chance_->one_in(100)) {
            create_model();
        }
    }

    ComputeArguments& arguments() const {
        return *arguments_;
    }
    Results& reference() {
        return reference_;
    }
    void print() const {
        std::string text;
        for (const OddCall& odd : odd_calls_) {
            text += (text.empty() ? "" : ", ") + ("\"" + std::string(odd.name)) + "\": [" + count(succeeded_, odd) +
                    ", " + count(refused_, odd) + "]";
        }
        std::printf("{%s}\n", text.c_str());
    }

  private:
    static std::string count(const std::map<std::string, int>& counts, const OddCall& odd) {
        const auto found = counts.find(odd.name);
        return std::to_string(found == counts.end() ? 0 : found->second);
    }
    void create_model() {
        arguments_.reset();
        model_ = std::make_unique<Model>(name_);
        arguments_ = std::make_unique<ComputeArguments>(*model_);
    }
    void refuse_refresh() {
        const int n = model_->n_species();
        const Said said;
        require(model_->kim()->SetParameter(0, 0, n + 1) == 0, "KIM must take the parameter");
        require(model_->kim()->ClearThenRefresh() != 0, "a refresh must be refused where n_elements has changed");
        check_refusal(said.since(), "`n_elements` is read-only: it must be " + std::to_string(n));
        require(model_->n_species() == n, "n_elements must be set back");
    }

    std::string name_;
    Chance* chance_;
    std::vector<OddCall> odd_calls_;
    std::unique_ptr<Model> model_;
    std::unique_ptr<ComputeArguments> arguments_;
    Sound sound_;
    Results reference_;
    std::map<std::string, int> succeeded_;
    std::map<std::string, int> refused_;
};

void run_model(const std::string& name, const std::string& seed, int count, bool is_periodic) {
    Chance chance(static_cast<std::uint32_t>(std::stoul(seed)));
    Session session(name, &chance, is_periodic);
    for (int i = 0; i < count; ++i) {
        const OddCall odd = chance.one_of(session.odd_calls());
        try {
            session.change_something();
            session.do_odd_call(odd);
            session.check_sound();
        } catch (const Violation& violation) {
            throw Violation(name + ", seed " + seed + ", call " + std::to_string(i) + " (" + odd.name +
                            "): " + violation.what());
        }
    }
    session.print();
}

void run_models(const Words& words, bool is_periodic) {
    for (std::size_t k = 0; k < words.size(); k += 3) {
        run_model(words.at(k), words.at(k + 1), std::stoi(words.at(k + 2)), is_periodic);
    }
}

void run(const Words& words) {
    run_models(words, false);
}

void periodic(const Words& words) {
    run_models(words, true);
}

void large(const Words& words) {
    Chance chance(1);
    Session session(words.at(0), &chance);
    Call call = session.sound_call();
    const int n = std::stoi(words.at(1));
    for (int i = n_particles; i < n; ++i) {
        call.particles.species_codes.push_back(i % 2);
        call.particles.contributing.push_back(0);
        for (const int steps : {i % 1000, i / 1000 % 1000, i / 1000000}) {
            call.particles.coordinates.push_back(1000.0 + 10.0 * steps);
        }
    }
    call.lists.of_particle.resize(static_cast<std::size_t>(n));
    call.claimed_n = n;
    require_same(session.arguments().compute(&call), session.reference());
    session.check_sound();
    std::printf("{\"n\": %d}\n", n);
}

// Memory that the system provides only when it is written to; until then it reads as 0.
template <class Value>
Value* zeros(std::size_t count) {
    void* memory = mmap(nullptr, count * sizeof(Value), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(memory != MAP_FAILED, "there must be address space");
    return static_cast<Value*>(memory);
}

void vast(const Words& words) {
    namespace names = KIM::COMPUTE_ARGUMENT_NAME;
    Chance chance(1);
    Session session(words.at(0), &chance);
    session.check_sound();  // its callback stays set, and must not be called any more
    const int n = std::numeric_limits<int>::max() / 3 + 1000;
    const auto size = static_cast<std::size_t>(n);
    double* coordinates = zeros<double>(3 * size);
    coordinates[1] = std::numeric_limits<double>::quiet_NaN();
    KIM::ComputeArguments* kim = session.arguments().kim();
    int error = kim->SetArgumentPointer(names::numberOfParticles, &n);
    error |= kim->SetArgumentPointer(names::particleSpeciesCodes, zeros<int>(size));
    error |= kim->SetArgumentPointer(names::particleContributing, zeros<int>(size));
    error |= kim->SetArgumentPointer(names::coordinates, coordinates);
    for (const Output& output : session.arguments().outputs()) {
        error |= kim->SetArgumentPointer(output.name, static_cast<double*>(nullptr));
    }
    require(error == 0, "KIM must take the pointers");
    const Said said;
    require(session.arguments().compute_as_it_is() != 0, "it must be refused");
    check_refusal(said.since(), "`coordinates` must be finite, got nan for particle 0");
    session.check_sound();
    std::printf("{\"n\": %d}\n", n);
}

void make_mistake(Session* session, const std::string& kind) {
    Call call = session->sound_call();
    if (kind == "short input") {
        ++call.claimed_n;
    } else if (kind == "misaligned input") {
        call.misalign_coordinates = true;
    } else if (kind == "short output") {
        call.shift_outputs = 1;
    } else if (kind == "short output for zeros") {
        std::fill(call.particles.contributing.begin(), call.particles.contributing.end(), 0);
        call = Call(kind, call.particles, skin);
        call.shift_outputs = 1;
    } else if (kind == "other refusal") {
        call.claimed_n = -1;
        call.expect_refusal("something else");
    } else if (kind == "no refusal") {
        call.expect_refusal("");
    } else if (kind == "other result") {
        session->reference().outputs.at(0).at(0) += 1e-12;
    } else {
        throw std::invalid_argument("there is no such mistake: " + kind);
    }
    session->arguments().compute(&call);
    session->check_sound();
}

void mistakes(const Words& words) {
    Chance chance(1);
    Session session(words.at(0), &chance);
    for (std::size_t k = 1; k < words.size(); ++k) {
        try {
            make_mistake(&session, words[k]);
            std::printf("%s: not noticed\n", words[k].c_str());
        } catch (const Violation& violation) {
            std::printf("%s: %s\n", words[k].c_str(), violation.what());
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::map<std::string, std::function<void(const Words&)>> commands = {
        {"run", run}, {"periodic", periodic}, {"large", large}, {"vast", vast}, {"mistakes", mistakes}};
    try {
        const Words words(argv + 1, argv + argc);
        commands.at(words.at(0))(Words(words.begin() + 1, words.end()));
        return 0;
    } catch (const Violation& violation) {
        std::printf("%s\n", violation.what());
        return 1;
    } catch (const std::exception& error) {
        std::printf("fuzz: %s\n", error.what());
        return 2;
    }
}
