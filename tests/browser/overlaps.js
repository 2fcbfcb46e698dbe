// Runs in the page. Texts of charts that leave the window or cover each other.
() => {
  const problems = [];
  for (const chart of document.querySelectorAll("svg[role=img]")) {
    const texts = [...chart.querySelectorAll("text")].map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
    for (const { text, box } of texts) {
      if (box.left < 0 || box.right > innerWidth) problems.push(`"${text}" leaves the window`);
    }
    texts.forEach((a, index) => {
      for (const b of texts.slice(index + 1)) {
        const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (wide > 2 && high > 4) problems.push(`"${a.text}" and "${b.text}" overlap`);
      }
    });
  }
  return problems;
}
