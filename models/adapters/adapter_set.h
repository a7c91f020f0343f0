// All adapters of a model: one or more, each with a name, on the same sites of one frozen base.
// Which of them a sample gets is said in every forward pass (Adaptation).
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "models/adapters/adapter.h"
#include "models/adapters/adapter_config.h"

namespace gradwire {

class AdapterSet final : public Module {
 public:
  // An adapter for each name at those of `sites` that the configuration is for; they belong to a
  // model that must outlive it, and has its weights by now: DoRA begins with their lengths. Values
  // depend on cx.rng.seed and the names alone. `is_part`: the sites are those of some stages only.
  // Errors: kConfig for a pattern that matches no site that the method can be attached to, unless
  // is_part, and for no names or one that is given twice.
  AdapterSet(Context& cx, const std::vector<Site>& sites, const AdapterConfig& config,
             std::vector<std::string> names, bool is_part = false);

  const std::vector<std::string>& names() const { return names_; }
  // The number of a name. Errors: kConfig if there is none such.
  int index_of(const std::string& name) const;
  // Those that have adapters, in the order of the model.
  std::vector<std::string> sites() const;
  // What adapter `index` has at the site; null if nothing.
  Adapter* at(const std::string& site, int index) const;
  bool changes_input(const std::string& site) const;

  void visit_params(const Visitor& f) override;
  // Those of one adapter, at all sites or at those whose name begins with `prefix`.
  std::vector<Parameter*> parameters_of_adapter(int index, const std::string& prefix = "");

 private:
  struct Place {
    std::string site;
    std::vector<std::unique_ptr<Adapter>> adapters;  // by name
  };
  const Place* find(const std::string& site) const;

  std::vector<std::string> names_;
  std::vector<Place> places_;  // in the order of the sites
  std::unordered_map<std::string, std::size_t> by_site_;
};

}  // namespace gradwire
