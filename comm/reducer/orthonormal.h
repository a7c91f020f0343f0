// Gram and Schmidt's orthonormal basis, the same bits on every rank that starts from the same ones.
#pragma once

#include <cstdint>

namespace gradwire {

// Doubles that orthonormalize_rows() works in.
std::int64_t orthonormal_room(std::int64_t rows, std::int64_t n);
// The rows of x [rows, n] become orthonormal, in their order. A row that those before it make up to
// f32's accuracy, a row of zeros among them, becomes zero and dependent[i] 1; else that is 0.
// False: x is not finite, and has been changed in part.
bool orthonormalize_rows(float* x, std::int64_t rows, std::int64_t n, double* room,
                         std::uint8_t* dependent);

}  // namespace gradwire
