// Runs in the page. Every visible text whose contrast with its ground is below 4.5, as [ratio, text, colour, ground].
() => {
  const parse = (text) => {
    const numbers = (text.match(/[\d.]+(?:e-?\d+)?/g) ?? [0, 0, 0, 0]).map(Number);
    const [r, g, b] = text.startsWith("color(") ? numbers.slice(0, 3).map((n) => n * 255) : numbers;
    return [r, g, b, text === "transparent" ? 0 : (numbers[3] ?? 1)];
  };
  const over = (top, alpha, ground) => top.slice(0, 3).map((value, index) => value * alpha + ground[index] * (1 - alpha));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const v = value / 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const opacity = (element) => {
    let total = 1;
    for (let e = element; e; e = e.parentElement) total *= Number(getComputedStyle(e).opacity);
    return total;
  };
  const groundOf = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((ground, layer) => over(layer, layer[3], ground), [255, 255, 255]);
  };
  // In a chart: the shapes drawn before the text and under its middle.
  const chartGround = (text, ground) => {
    const style = getComputedStyle(text);
    const haloed = style.paintOrder.startsWith("stroke") && parseFloat(style.strokeWidth) >= 3 && Number(style.strokeOpacity) === 1;
    if (haloed && style.stroke !== "none") return parse(style.stroke).slice(0, 3);
    const box = text.getBoundingClientRect();
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    let result = ground;
    for (const shape of text.ownerSVGElement.querySelectorAll("rect, path, circle")) {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING) || shape.closest("defs")) continue;
      const s = getComputedStyle(shape);
      const b = shape.getBoundingClientRect();
      if (s.fill === "none" || x < b.left || x > b.right || y < b.top || y > b.bottom) continue;
      let colour = s.fill;
      if (colour.startsWith("url(")) {
        const source = document.querySelector(colour.match(/#[\w-]+/)[0]);
        if (source?.tagName !== "linearGradient") continue;
        colour = getComputedStyle(source.firstElementChild).stopColor;
      }
      const fill = parse(colour);
      result = over(fill, fill[3] * Number(s.opacity) * Number(s.fillOpacity), result);
    }
    return result;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest("title, noscript, .visually-hidden, .skip, option")) continue;
    const style = getComputedStyle(element);
    const inChart = element.ownerSVGElement;
    const ground = inChart ? chartGround(element, groundOf(inChart.parentElement)) : groundOf(element);
    const ink = parse(inChart ? style.fill : style.color);
    const contrast = ratio(over(ink, ink[3] * opacity(element), ground), ground);
    if (contrast < 4.5) faint.push([contrast.toFixed(2), text.slice(0, 40), inChart ? style.fill : style.color, ground.map(Math.round).join()]);
  }
  return faint;
}
