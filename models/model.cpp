#include <flatland/models/model.h>

namespace flatland {

Tensor Model::embed(const Tensor& x) const {
  return encode(x);
}

Tensor Model::encode(const Tensor&) const {
  detail::fail(name(), ": has no embed or encode role; override one of them in the model");
}
Tensor Model::decode(const Tensor&) const {
  detail::fail(name(), ": has no decode role; override it in the model");
}
Tensor Model::classify(const Tensor&) const {
  detail::fail(name(), ": has no classify role; override it in the model");
}

}  // namespace flatland
