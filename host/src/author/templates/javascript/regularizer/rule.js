// The rule, in plain JavaScript: nothing in this file knows of Creamery, so it is tested like any other module.

/** Kendall's tau-b of two score lists; null where it is undefined: a list in which all scores tie. */
export function tau(a, b) {
  let [difference, untiedA, untiedB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const [x, y] = [Math.sign(a[i] - a[j]), Math.sign(b[i] - b[j])];
      difference += x * y;
      untiedA += Math.abs(x);
      untiedB += Math.abs(y);
    }
  }
  const scale = Math.sqrt(untiedA * untiedB);
  return scale > 0 ? Math.max(-1, Math.min(1, difference / scale)) : null;
}

/** C of a group, from the scores of two viewpoints (null: no score). 0.5 where their agreement is undefined. */
export function consistency(current, previous, lowest) {
  const both = current.map((_, i) => i).filter((i) => current[i] !== null && previous[i] !== null);
  const t = tau(both.map((i) => current[i]), both.map((i) => previous[i]));
  return Math.max(lowest, t === null ? 0.5 : (t + 1) / 2);
}
