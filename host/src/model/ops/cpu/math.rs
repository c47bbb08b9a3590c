//! Elementary functions that the compiler can vectorise. Call them inside [`vectorized`].

use pulp::{Arch, Simd, WithSimd};

/// Runs `f` compiled for the widest vectors of the machine. `f` must be `#[inline(always)]`.
///
/// pulp's own dispatch of closures takes `FnOnce`. A closure of another kind is then called through a shim that is
/// not inlined: it is compiled for no vectors at all, and each fused multiply-add becomes a call.
#[inline(always)]
pub fn vectorized<R>(f: impl FnMut() -> R) -> R {
    Arch::new().dispatch(Vectorized(f))
}

struct Vectorized<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Vectorized<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Below this the exponential underflows; the result is 0.
const LOWEST: f32 = -87.0;
const HIGHEST: f32 = 88.3;

/// `e^x` to about 1 ulp, 0 below -87, finite up to 88.3 and clamped there; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // e^x = 2^n·e^r with n = round(x·log2 e) and |r| <= ln 2 / 2. Adding 1.5·2^23 rounds to an integer that
    // then sits in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let y = if x < LOWEST { LOWEST } else { x };
    let y = if y > HIGHEST { HIGHEST } else { y };
    let z = y.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = z - ROUND;
    let r = n.mul_add(-0.693_359_4, y);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = (r * r).mul_add(p, r) + 1.0;
    let scale = f32::from_bits(z.to_bits().wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { p * scale }
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Lanes of a sum: element `i` goes to lane `i % 16`, the lanes are added in a fixed tree.
pub const LANES: usize = 16;

#[inline(always)]
pub fn fold_lanes(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `Σ f(x[i], y[i])` in the fixed order of [`LANES`].
#[inline(always)]
pub fn sum2(x: &[f32], y: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (xr, yr) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for i in 0..LANES {
            lanes[i] = f(lanes[i], x[i], y[i]);
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(xr.iter().zip(yr)) {
        *lane = f(*lane, *x, *y);
    }
    fold_lanes(lanes, |a, b| a + b)
}

#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    sum2(x, y, |sum, x, y| x.mul_add(y, sum))
}

/// The largest element; NaN if any is NaN; -inf for none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, *x);
    }
    fold_lanes(lanes, larger)
}

/// Replaces each element by `e^(scale·x - shift)` and returns the sum, in the fixed order of [`LANES`].
#[inline(always)]
pub fn exp_sum(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for i in 0..LANES {
            chunk[i] = exp(scale.mul_add(chunk[i], -shift));
            lanes[i] += chunk[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *x = exp(scale.mul_add(*x, -shift));
        *lane += *x;
    }
    fold_lanes(lanes, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_and_total() {
        let mut x = -86.9f32;
        while x < 88.2 {
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / want - 1.0).abs() < 3e-7, "exp({x}) = {got}, not {want}");
            x += 0.0137;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(1e9).is_finite());
    }

    #[test]
    fn max_sees_nan_in_every_place() {
        for at in 0..40 {
            let mut x: Vec<f32> = (0..40).map(|i| i as f32).collect();
            assert_eq!(max(&x), 39.0);
            x[at] = f32::NAN;
            assert!(max(&x).is_nan(), "place {at}");
        }
    }
}
