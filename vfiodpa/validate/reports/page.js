(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const [tools, search, chapter, shown, empty] =
    [".tools", "#search", "#chapter", ".shown", ".empty"].map((one) => document.querySelector(one));
  const chips = all(".chips button");
  const blocks = all(".block").map((block) => ({
    block, rows: all(".row", block).map((row) => ({ row, text: row.textContent.toLowerCase() })),
  }));
  const total = blocks.reduce((sum, one) => sum + one.rows.length, 0);
  const pressed = (kind) => chips.filter((one) => one.dataset[kind] && one.ariaPressed === "true").map((one) => one.dataset[kind]);

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = pressed("verdict"), changes = pressed("change");
    let count = 0;
    for (const { block, rows } of blocks) {
      let any = false;
      for (const { row, text } of rows) {
        const { verdict, change } = row.dataset;
        const right = verdicts.length ? verdicts.includes(verdict) : verdict !== "none" || words.length;
        const hit = right && (!changes.length || changes.includes(change)) &&
          (!chapter.value || block.dataset.chapter === chapter.value) && words.every((word) => text.includes(word));
        row.hidden = !hit;
        any ||= hit;
        count += hit;
      }
      block.hidden = !any;
    }
    shown.textContent = `${count} of ${total} clauses`;
    empty.hidden = count > 0;
  }

  function reveal() {
    const row = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !row.classList.contains("row")) return;
    if (row.hidden || row.closest(".block").hidden) {
      chips.forEach((one) => { one.ariaPressed = one.dataset.verdict === row.dataset.verdict; });
      search.value = chapter.value = "";
      filter();
    }
    row.open = true;
    row.scrollIntoView();
  }

  for (const chip of chips) {
    if (chip.dataset.change && chip.dataset.change !== "same") chip.ariaPressed = "true";
    chip.addEventListener("click", () => { chip.ariaPressed = String(chip.ariaPressed !== "true"); filter(); });
  }
  for (const pre of all(".trace")) {  // the end is what led to the failure
    pre.closest("details").addEventListener("toggle", () => { pre.scrollTop = pre.scrollHeight; });
  }
  search.addEventListener("input", filter);
  chapter.addEventListener("change", filter);
  addEventListener("hashchange", reveal);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  });
  tools.hidden = false;
  filter();
  reveal();
})();
