//! Matrix product in f32: `C = A·B` or `C += A·B`, with `B` packed into panels.
//!
//! Each element of `C` is one chain of fused multiply-adds over `k`, cut at fixed multiples of [`KC`]. The chain does
//! not depend on the number of rows, on the tile that the element falls in, or on the thread: a row of `C` has the
//! same bits whatever else is in the batch.

use pulp::{Arch, Simd, WithSimd};

use super::parallel;

/// Columns of a panel.
pub const NR: usize = 32;
/// Depth of one chain of multiply-adds. A panel of this depth stays in the nearest caches.
pub const KC: usize = 384;
/// Multiply-adds below which a product stays on one thread.
const SERIAL: usize = 1 << 18;

/// A left operand: element (i, p) is `data[i * row + p * col]`.
#[derive(Clone, Copy)]
pub struct Lhs<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub col: usize,
}

impl<'a> Lhs<'a> {
    /// A row-major matrix with rows of `stride` elements.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Lhs { data, row: stride, col: 1 }
    }

    /// The transpose of a row-major matrix with rows of `stride` elements.
    pub fn transposed(data: &'a [f32], stride: usize) -> Self {
        Lhs { data, row: 1, col: stride }
    }
}

/// One cache line of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

const LINES: usize = NR / 16;

/// A right operand `[k, n]`, packed: panels of [`NR`] columns, zero-padded, each `[k][NR]`.
#[derive(Default)]
pub struct Panels {
    lines: Vec<Line>,
    k: usize,
    n: usize,
}

impl Panels {
    /// Packs a row-major `[k, n]` matrix with rows of `stride` elements.
    pub fn pack(b: &[f32], stride: usize, k: usize, n: usize) -> Self {
        let mut panels = Panels::default();
        panels.reset(k, n);
        let tall = k * LINES;
        if tall > 0 {
            let grain = parallel::grain(n.div_ceil(NR), k * n * 8);
            parallel::rows(&mut panels.lines, tall, grain, |first, lines| {
                for (i, panel) in lines.chunks_exact_mut(tall).enumerate() {
                    pack_rows(panel, b, stride, (first + i) * NR, n);
                }
            });
        }
        panels
    }

    /// Packs the transpose of a row-major `[n, k]` matrix with rows of `stride` elements.
    pub fn pack_transposed(b: &[f32], stride: usize, k: usize, n: usize) -> Self {
        let mut panels = Panels::default();
        panels.reset(k, n);
        let tall = k * LINES;
        if tall > 0 {
            let grain = parallel::grain(n.div_ceil(NR), k * n * 16);
            parallel::rows(&mut panels.lines, tall, grain, |first, lines| {
                for (i, panel) in lines.chunks_exact_mut(tall).enumerate() {
                    for column in 0..NR.min(n - (first + i) * NR) {
                        let row = (first + i) * NR + column;
                        pack_column(panel, column, &b[row * stride..row * stride + k]);
                    }
                }
            });
        }
        panels
    }

    /// Makes this a `[k, n]` operand of zeros, keeping the memory.
    pub fn reset(&mut self, k: usize, n: usize) {
        self.lines.clear();
        self.lines.resize(n.div_ceil(NR) * k * LINES, Line([0.0; 16]));
        (self.k, self.n) = (k, n);
    }

    /// Fills rows `at..` from a row-major matrix of rows of `stride` elements, `n` of them used.
    pub fn fill_rows(&mut self, at: usize, b: &[f32], stride: usize, rows: usize) {
        if rows == 0 {
            return;
        }
        let (tall, n) = (self.k * LINES, self.n);
        for (i, panel) in self.lines.chunks_exact_mut(tall).enumerate() {
            pack_rows(&mut panel[at * LINES..(at + rows) * LINES], b, stride, i * NR, n);
        }
    }

    /// Fills columns `at..at + count`: column `at + i` is `b[i * stride..][..k]`.
    pub fn fill_columns(&mut self, at: usize, b: &[f32], stride: usize, count: usize) {
        let (tall, k) = (self.k * LINES, self.k);
        for i in 0..count {
            let panel = (at + i) / NR;
            let column = (at + i) % NR;
            pack_column(&mut self.lines[panel * tall..(panel + 1) * tall], column, &b[i * stride..i * stride + k]);
        }
    }

    /// The panels that hold the columns from `first` (a multiple of [`NR`]) on, at most `count` of them.
    pub fn part(&self, first: usize, count: usize) -> Rhs<'_> {
        assert!(first.is_multiple_of(NR) && first <= self.n);
        let n = count.min(self.n - first);
        let tall = self.k * LINES;
        Rhs { lines: &self.lines[first / NR * tall..(first + n).div_ceil(NR) * tall], tall, k: self.k, n }
    }

    pub fn all(&self) -> Rhs<'_> {
        self.part(0, self.n)
    }
}

/// A borrowed run of panels.
#[derive(Clone, Copy)]
pub struct Rhs<'a> {
    lines: &'a [Line],
    tall: usize,
    k: usize,
    n: usize,
}

impl Rhs<'_> {
    /// Only the first `n` columns.
    pub fn columns(self, n: usize) -> Self {
        assert!(n <= self.n);
        Rhs { lines: &self.lines[..n.div_ceil(NR) * self.tall], n, ..self }
    }

    /// Only the first `k` rows.
    pub fn depth(self, k: usize) -> Self {
        assert!(k <= self.k);
        Rhs { k, ..self }
    }
}

fn pack_rows(panel: &mut [Line], b: &[f32], stride: usize, first: usize, n: usize) {
    let width = NR.min(n - first);
    for (p, lines) in panel.chunks_exact_mut(LINES).enumerate() {
        let row = &b[p * stride + first..][..width];
        for (line, part) in lines.iter_mut().zip(row.chunks(16)) {
            line.0[..part.len()].copy_from_slice(part);
        }
    }
}

fn pack_column(panel: &mut [Line], column: usize, values: &[f32]) {
    let (half, lane) = (column / 16, column % 16);
    for (lines, value) in panel.chunks_exact_mut(LINES).zip(values) {
        lines[half].0[lane] = *value;
    }
}

/// `C[i, j] = Σ_p A[i, p]·B[p, j]` for `m` rows, `+=` if `add`. `c` holds rows of `stride` elements. One thread.
pub fn product(a: Lhs, m: usize, b: Rhs, c: &mut [f32], stride: usize, add: bool) {
    if m == 0 || b.n == 0 {
        return;
    }
    if b.k == 0 {
        if !add {
            c.chunks_mut(stride).take(m).for_each(|row| row[..b.n].fill(0.0));
        }
        return;
    }
    assert!(a.data.len() > (m - 1) * a.row + (b.k - 1) * a.col, "left operand too small");
    assert!(c.len() >= (m - 1) * stride + b.n, "result too small");
    Arch::new().dispatch(Product { a, m, b, c, stride, add });
}

/// [`product`] over all threads of the current pool.
pub fn parallel_product(a: Lhs, m: usize, b: Rhs, c: &mut [f32], add: bool) {
    let n = b.n;
    if m == 0 || n == 0 {
        return;
    }
    assert_eq!(c.len(), m * n);
    let work = m * n * b.k;
    let grain = if work < SERIAL { m } else { parallel::grain(m, work).next_multiple_of(8).min(192) };
    parallel::rows(c, n, grain, |first, c| {
        let part = Lhs { data: &a.data[first * a.row..], ..a };
        product(part, c.len() / n, b, c, n, add);
    });
}

struct Product<'a> {
    a: Lhs<'a>,
    m: usize,
    b: Rhs<'a>,
    c: &'a mut [f32],
    stride: usize,
    add: bool,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { a, m, b, c, stride, add } = self;
        let width = 2 * S::F32_LANES;
        let tall = if S::F32_LANES >= 16 { 8 } else { 6 };
        let mut depth = 0;
        while depth < b.k {
            let k = KC.min(b.k - depth);
            let add = add || depth > 0;
            for (i, panel) in b.lines.chunks_exact(b.tall).enumerate() {
                let valid = NR.min(b.n - i * NR);
                let mut column = 0;
                while column < valid {
                    let mut row = 0;
                    while row < m {
                        let rows = tall.min(m - row);
                        // SAFETY: `product` checked that A holds m rows of b.k elements and C m rows of b.n columns;
                        // row + rows <= m, depth + k <= b.k, and at most valid - column columns of C are touched.
                        // The panel holds b.k rows of NR columns, and column + width <= NR as width divides NR.
                        unsafe {
                            let tile = Tile {
                                k,
                                a: a.data.as_ptr().add(row * a.row + depth * a.col),
                                row: a.row,
                                col: a.col,
                                b: panel.as_ptr().cast::<f32>().add(depth * NR + column),
                                c: c.as_mut_ptr().add(row * stride + i * NR + column),
                                stride,
                                valid: width.min(valid - column),
                                add,
                            };
                            match rows {
                                8 => tile.run::<S, 8>(simd),
                                7 => tile.run::<S, 7>(simd),
                                6 => tile.run::<S, 6>(simd),
                                5 => tile.run::<S, 5>(simd),
                                4 => tile.run::<S, 4>(simd),
                                3 => tile.run::<S, 3>(simd),
                                2 => tile.run::<S, 2>(simd),
                                _ => tile.run::<S, 1>(simd),
                            }
                        }
                        row += rows;
                    }
                    column += width;
                }
            }
            depth += k;
        }
    }
}

/// A tile of up to 8 rows by two vectors, held in registers.
struct Tile {
    k: usize,
    a: *const f32,
    row: usize,
    col: usize,
    b: *const f32,
    c: *mut f32,
    stride: usize,
    valid: usize,
    add: bool,
}

impl Tile {
    /// # Safety
    /// `a` must hold `M` rows of `k` elements at the given strides, `b` `k` rows of `NR` elements of which two
    /// vectors are read, `c` `M` rows of `valid` writable elements.
    #[inline(always)]
    unsafe fn run<S: Simd, const M: usize>(self, simd: S) {
        let Tile { k, a, row, col, b, c, stride, valid, add } = self;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); 2]; M];
        let mut rows = [a; M];
        // SAFETY: the caller's contract; every address is within the ranges it names.
        unsafe {
            for (i, pointer) in rows.iter_mut().enumerate() {
                *pointer = a.add(i * row);
            }
            for p in 0..k {
                let b0 = b.add(p * NR).cast::<S::f32s>().read_unaligned();
                let b1 = b.add(p * NR + lanes).cast::<S::f32s>().read_unaligned();
                for i in 0..M {
                    let x = simd.splat_f32s(*rows[i].add(p * col));
                    sums[i][0] = simd.mul_add_f32s(x, b0, sums[i][0]);
                    sums[i][1] = simd.mul_add_f32s(x, b1, sums[i][1]);
                }
            }
            if valid == 2 * lanes {
                for (i, sum) in sums.into_iter().enumerate() {
                    for (half, sum) in sum.into_iter().enumerate() {
                        let to = c.add(i * stride + half * lanes).cast::<S::f32s>();
                        let old = if add { to.read_unaligned() } else { simd.splat_f32s(0.0) };
                        let new = if add { simd.add_f32s(old, sum) } else { sum };
                        to.write_unaligned(new);
                    }
                }
            } else {
                for (i, sum) in sums.into_iter().enumerate() {
                    let mut row = [0f32; NR];
                    row.as_mut_ptr().cast::<S::f32s>().write_unaligned(sum[0]);
                    row.as_mut_ptr().add(lanes).cast::<S::f32s>().write_unaligned(sum[1]);
                    for (j, new) in row.iter().enumerate().take(valid) {
                        let to = c.add(i * stride + j);
                        *to = if add { *to + new } else { *new };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    #[test]
    fn equals_the_plain_sum_for_every_shape() {
        for (m, n, k) in [(1, 1, 1), (2, 5, 3), (7, 33, 40), (8, 32, 384), (9, 64, 385), (25, 70, 900), (300, 96, 64)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let expected: Vec<f32> = (0..m * n)
                .map(|e| (0..k).map(|p| f64::from(a[e / n * k + p]) * f64::from(b[p * n + e % n])).sum::<f64>() as f32)
                .collect();
            let transpose =
                |x: &[f32], r: usize, c: usize| -> Vec<f32> { (0..r * c).map(|e| x[e % r * c + e / r]).collect() };
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let mut all = Vec::new();
            for panels in [Panels::pack(&b, n, k, n), Panels::pack_transposed(&bt, k, k, n)] {
                for lhs in [Lhs::rows(&a, k), Lhs::transposed(&at, m)] {
                    let mut c = vec![0.5; m * n];
                    parallel_product(lhs, m, panels.all(), &mut c, true);
                    c.iter_mut().for_each(|x| *x -= 0.5);
                    for (got, want) in c.iter().zip(&expected) {
                        assert!((got - want).abs() < 1e-4, "{m}x{n}x{k}: {got} is not {want}");
                    }
                    let mut c = vec![7.0; m * n];
                    parallel_product(lhs, m, panels.all(), &mut c, false);
                    all.push(c);
                }
            }
            assert!(all.windows(2).all(|w| w[0] == w[1]), "{m}x{n}x{k}: operand layouts differ in bits");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        let (m, n, k) = (37, 75, 500);
        let (a, b) = (values(m * k, 3), values(k * n, 4));
        let panels = Panels::pack(&b, n, k, n);
        let mut all = vec![0.0; m * n];
        parallel_product(Lhs::rows(&a, k), m, panels.all(), &mut all, false);
        for i in 0..m {
            let mut one = vec![0.0; n];
            product(Lhs::rows(&a[i * k..(i + 1) * k], k), 1, panels.all(), &mut one, n, false);
            assert_eq!(one, all[i * n..(i + 1) * n], "row {i}");
        }
    }
}
