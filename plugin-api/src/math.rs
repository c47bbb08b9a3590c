//! Elementary functions with the same bits in a native library and in a component.
//!
//! `f64::exp` and its like go to the C library on a native target and to another implementation in
//! WebAssembly, and their last bits differ. Plugins that use these functions instead give the same numbers in
//! both forms, on every platform. (`+ - * /`, `sqrt`, `abs`, `min` and `max` are exact everywhere.)

/// eˣ
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// eˣ − 1, exact near 0.
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// ln(1 + x), exact near 0.
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// xʸ
pub fn powf(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// The hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}
