"use strict";
(() => {
  const root = document.documentElement;
  const by = (id) => document.getElementById(id);

  // The theme: what the system wants, until someone chooses.
  const button = by("theme");
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.setAttribute("aria-label", "Switch between light and dark");
  button.hidden = false;
  name();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("creamery-theme", root.dataset.theme); } catch (e) { /* not kept */ }
    name();
  });

  // Long tables.
  for (const all of document.querySelectorAll("button.all")) {
    all.addEventListener("click", () => {
      by(all.dataset.for).classList.remove("folded");
      all.remove();
    });
  }

  const data = by("samples-data");
  if (data) samples(JSON.parse(data.textContent));

  function samples(rows) {
    const PAGE = 20;
    const list = by("list"), found = by("found"), more = by("more"), form = by("filters");
    let shown = [], drawn = 0;
    form.hidden = false;

    const option = (select, value, text) => {
      const o = document.createElement("option");
      o.value = value;
      o.textContent = text;
      select.append(o);
    };
    [...new Set(rows.map((r) => r.arm))].forEach((arm) => option(by("f-arm"), arm, arm));
    const place = (r) => r.round + (r.evaluation ? "e" : "");
    const placeName = (r) => "round " + r.round + (r.evaluation ? ", evaluation" : "");
    new Map(rows.map((r) => [place(r), placeName(r)])).forEach((text, value) => option(by("f-round"), value, text));
    // What is searched, once.
    for (const r of rows) {
      r.all = [r.id, ...r.prompt.map((m) => m[1]), ...r.responses.map((a) => a.text), ...(r.said || []).flatMap((s) => s.texts)].join("\n").toLowerCase();
    }

    const passes = (r, f) => {
      if (f.text && !r.all.includes(f.text)) return false;
      if (f.arm && r.arm !== f.arm) return false;
      if (f.round && place(r) !== f.round) return false;
      if (f.differ && !r.differ) return false;
      if (f.dropped && !r.dropped) return false;
      if (f.low !== null || f.high !== null) {
        const within = (p) => p.c !== undefined && p.c >= (f.low ?? -Infinity) && p.c <= (f.high ?? Infinity);
        if (!r.pairs.some(within)) return false;
      }
      if (f.right === "known") return r.answer !== undefined;
      if (f.right) {
        const wanted = f.right === "right";
        return r.pairs.some((p) => r.responses[p.chosen] && r.responses[p.chosen].right === wanted);
      }
      return true;
    };
    const value = (id) => (by(id).value === "" || Number.isNaN(+by(id).value) ? null : +by(id).value);
    const filter = () => {
      const f = {
        text: by("f-text").value.trim().toLowerCase(), arm: by("f-arm").value, round: by("f-round").value,
        right: by("f-right").value, low: value("f-low"), high: value("f-high"),
        differ: by("f-differ").checked, dropped: by("f-dropped").checked,
      };
      shown = rows.filter((r) => passes(r, f));
      drawn = 0;
      list.replaceChildren();
      found.textContent = shown.length + " of " + rows.length + " groups";
      page();
    };
    const page = () => {
      const next = shown.slice(drawn, drawn + PAGE);
      list.append(...next.map(card));
      drawn += next.length;
      more.hidden = drawn >= shown.length;
      if (!more.hidden) more.textContent = "Show " + Math.min(PAGE, shown.length - drawn) + " more";
    };

    // Everything below is text, never markup: a response may say anything.
    const el = (tag, className, text) => {
      const e = document.createElement(tag);
      if (className) e.className = className;
      if (text !== undefined) e.textContent = text;
      return e;
    };
    const number = (x) => (x === null || x === undefined ? "–" : String(+x.toPrecision(4)).replace("-", "\u2212"));

    function card(r) {
      const card = el("article", "card");
      const head = el("p", "head");
      head.append(el("span", "where", r.arm + " · seed " + r.seed + " · " + placeName(r)), el("code", "", r.id));
      if (r.dropped) head.append(el("span", "tag warn", "dropped: " + r.dropped));
      if (r.differ) head.append(el("span", "tag", "viewpoints differ"));
      card.append(head);
      for (const [role, text] of r.prompt) {
        const line = el("div", "turn");
        line.append(el("span", "role", role), el("div", "said", text));
        card.append(line);
      }
      if (r.answer !== undefined) {
        const line = el("div", "turn");
        line.append(el("span", "role", "answer"), el("div", "said", r.answer));
        card.append(line);
      }
      for (const p of r.pairs) {
        const c = p.c === undefined ? (r.evaluation ? "" : " · not used for training") : " · C " + number(p.c);
        const weight = p.weight === undefined || p.weight === 1 ? "" : " · weight " + number(p.weight);
        card.append(el("p", "pair", "chosen " + (p.chosen + 1) + " over " + (p.rejected + 1) + c + weight));
      }
      card.append(table(r));
      if (r.said) {
        const box = el("details");
        box.append(el("summary", "", "What the judges’ models wrote (" + r.said.length + ")"));
        for (const s of r.said) {
          box.append(el("p", "quiet", s.viewpoint + " was asked"), el("div", "said judged", s.asked));
          box.append(el("p", "quiet", s.texts.length > 1 ? "and wrote, " + s.texts.length + " times" : "and wrote"));
          s.texts.forEach((text) => box.append(el("div", "said judged", text)));
        }
        card.append(box);
      }
      return card;
    }

    function table(r) {
      const scroll = el("div", "scroll");
      scroll.tabIndex = 0;
      scroll.setAttribute("role", "region");
      scroll.setAttribute("aria-label", "Responses of " + r.id);
      const table = el("table"), head = el("tr"), body = el("tbody");
      const cell = (tag, text, className) => {
        const c = el(tag, className, text);
        if (tag === "th") c.scope = "col";
        return c;
      };
      head.append(cell("th", "#", "n"), cell("th", "Response"));
      for (const v of r.viewpoints) head.append(cell("th", "score, " + v, "n"), cell("th", "rank", "n"));
      const top = el("thead");
      top.append(head);
      r.responses.forEach((a, i) => {
        const line = el("tr");
        const chosen = r.pairs.some((p) => p.chosen === i), rejected = r.pairs.some((p) => p.rejected === i);
        line.append(cell("td", String(i + 1), "n"));
        const said = el("td", "response");
        said.append(el("div", "said", a.text));
        const tags = el("div", "tags");
        if (chosen) tags.append(el("span", "tag good", "chosen"));
        if (rejected) tags.append(el("span", "tag bad", "rejected"));
        if (a.right !== undefined) tags.append(el("span", "tag", a.right ? "right" : "wrong"));
        if (a.source) tags.append(el("span", "tag", "by " + a.source));
        tags.append(el("span", "quiet", a.tokens + (a.tokens === 1 ? " token" : " tokens")));
        (a.reasons || []).forEach((reason) => tags.append(el("span", "tag warn", "no score: " + reason)));
        said.append(tags);
        line.append(said);
        r.viewpoints.forEach((_, v) => {
          line.append(cell("td", number(a.scores[v]), "n"), cell("td", a.ranks[v] ? String(a.ranks[v]) : "–", "n"));
        });
        body.append(line);
      });
      table.append(top, body);
      scroll.append(table);
      return scroll;
    }

    // The filters stand in the address, so that a view can be kept and shared.
    const fields = [...form.elements].filter((f) => f.id);
    const remember = () => {
      const set = new URLSearchParams();
      for (const f of fields) {
        const now = f.type === "checkbox" ? (f.checked ? "1" : "") : f.value;
        if (now) set.set(f.id.slice(2), now);
      }
      const hash = set.size ? "#samples:" + set : location.pathname + location.search;
      try { history.replaceState(null, "", hash); } catch (e) { /* not kept */ }
    };
    if (location.hash.startsWith("#samples:")) {
      const set = new URLSearchParams(location.hash.slice(9));
      for (const f of fields) {
        const wanted = set.get(f.id.slice(2));
        if (wanted === null) continue;
        if (f.type === "checkbox") f.checked = true;
        else f.value = wanted;
      }
      by("samples").scrollIntoView();
    }

    const changed = () => { filter(); remember(); };
    let waiting;
    form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(changed, 120); });
    form.addEventListener("submit", (e) => e.preventDefault());
    form.addEventListener("reset", () => setTimeout(changed));
    more.addEventListener("click", page);
    filter();
  }
})();
