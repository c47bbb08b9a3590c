//! Splitting rows over threads. No result depends on how rows are split, so the split may follow the thread count.

use rayon::prelude::*;

/// Work (in multiply-adds or the like) that is worth a task of its own.
const TASK: usize = 1 << 17;

/// Rows of a task: about four tasks a thread, none smaller than it pays for.
pub fn grain(rows: usize, work: usize) -> usize {
    let threads = rayon::current_num_threads();
    if threads == 1 || rows == 0 {
        return rows.max(1);
    }
    let tasks = (4 * threads).min(work / TASK).max(1);
    rows.div_ceil(tasks)
}

/// Runs `f(first row, its rows)` over chunks of `grain` rows of `width` elements.
pub fn rows<T: Send>(data: &mut [T], width: usize, grain: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let chunk = (width * grain).max(1);
    if data.len() <= chunk || rayon::current_num_threads() == 1 {
        data.chunks_mut(chunk).enumerate().for_each(|(i, part)| f(i * grain, part));
    } else {
        data.par_chunks_mut(chunk).enumerate().for_each(|(i, part)| f(i * grain, part));
    }
}

/// As [`rows`], over two arrays with the same number of rows.
pub fn rows2<T: Send, U: Send>(
    (a, wa): (&mut [T], usize),
    (b, wb): (&mut [U], usize),
    grain: usize,
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let grain = grain.max(1);
    if a.len() <= wa * grain || rayon::current_num_threads() == 1 {
        let parts = a.chunks_mut(wa * grain).zip(b.chunks_mut(wb * grain));
        parts.enumerate().for_each(|(i, (a, b))| f(i * grain, a, b));
    } else {
        let parts = a.par_chunks_mut(wa * grain).zip(b.par_chunks_mut(wb * grain));
        parts.enumerate().for_each(|(i, (a, b))| f(i * grain, a, b));
    }
}

/// Runs `f` on a thread of the pool, so that the operations inside do not wake it one by one.
pub fn within_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == 1 { f() } else { rayon::scope(|_| f()) }
}
