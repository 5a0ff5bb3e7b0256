// Relations between items, in the form that suits them.
#pragma once

#include <flatland/engine/relation_ops.h>
#include <flatland/engine/tensor.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

namespace flatland {

// square: dense (N, N)          triangular: condensed upper triangle, N (N - 1) / 2, in scipy's pdist order
// neighbor: k neighbours each   sparse: compressed rows, columns ascending     flat: one value a pair
struct SquareRelations {
  Tensor values;  // (N, N)
};
struct TriangularRelations {
  Tensor values;  // (N (N - 1) / 2)
  std::int64_t items = 0;
};
struct NeighborRelations {
  Tensor index;   // int32 (N, k), distinct in a row
  Tensor values;  // (N, k)
};
struct SparseRelations {
  Tensor row_offset;  // int64 (N + 1)
  Tensor col;         // int32 (entries), ascending in a row
  Tensor values;      // (entries)
};
struct FlatRelations {
  Tensor values;  // (n)
};

// A value: copying shares the tensors. Values may carry a history, so transforms are differentiable.
class RelationData {
 public:
  using Form =
      std::variant<SquareRelations, TriangularRelations, NeighborRelations, SparseRelations, FlatRelations>;
  // Checks shapes and types, and indices to be in range.
  RelationData(SquareRelations form);
  RelationData(TriangularRelations form);
  RelationData(NeighborRelations form);
  RelationData(SparseRelations form);
  RelationData(FlatRelations form);

  const Form& form() const { return form_; }
  template <class F>
  const F* get_if() const {
    return std::get_if<F>(&form_);
  }
  std::string_view form_name() const;
  std::int64_t items() const;  // N; Error for flat relations
  const Tensor& values() const;
  // The same form with other values of the same shape.
  RelationData with_values(Tensor values) const;
  // Known to be symmetric: triangular relations, and what Symmetrize made.
  bool symmetric() const { return symmetric_; }
  RelationData marked_symmetric(bool value = true) const;

  // Conversions; Error naming both forms where the target cannot represent the source. All of them are
  // differentiable between square, triangular and flat; the others refuse values with a history.
  RelationData to_square() const;
  RelationData to_triangular() const;  // takes the upper triangle
  RelationData to_neighbor() const;    // sparse of equal row lengths, or all others in ascending index
  RelationData to_sparse() const;      // zeros of a dense form are left out
  RelationData to_flat() const;        // square: row by row; the values of all other forms as they stand

  // The dense block [index][:, index], in the order of `index` (int64 (B), distinct items); divided by its
  // sum when normalize (a sum of 0 leaves zeros). Not differentiable.
  Tensor sub(const Tensor& index, bool normalize = false) const;
  // The same block, sparse (from sparse relations). Allocates nothing but its tensors.
  SparseBlock sub_sparse(const Tensor& index, bool normalize = false) const;
  RelationData to(Device device) const;

 private:
  RelationData(Form form, bool symmetric, std::int64_t longest_row)
      : form_(std::move(form)), symmetric_(symmetric), longest_row_(longest_row) {}
  void make_position();
  Tensor dense_block(const Tensor& index) const;
  template <class F>
  void with_position(F&& f) const;

  Form form_;
  bool symmetric_ = false;
  std::int64_t longest_row_ = 0;  // of sparse relations
  Tensor position_;               // on a GPU: what their block kernels need, int32 (N), -1 between calls
};

// values / their sum; all zeros stay. Not differentiable.
Tensor divided_by_sum(const Tensor& values);

namespace detail {

// Error where the values have a history, which `who` does not carry on.
void check_no_gradient(std::string_view who, const RelationData& data);
// 1 in place of a total of 0, so that zeros divided by it stay zeros.
Tensor or_one(const Tensor& total);

}  // namespace detail

}  // namespace flatland
