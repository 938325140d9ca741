// Runs in the page: the least contrast of a text with what is behind it (WCAG 2.2, 1.4.3).
(() => {
  const numbers = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = numbers(color).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    const color = element ? getComputedStyle(element).backgroundColor : 'rgb(255, 255, 255)';
    return element && numbers(color)[3] === 0 ? behind(element.parentElement) : color;
  };
  const texts = [...document.body.querySelectorAll('*')].filter((each) =>
    [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim()),
  );
  return Math.min(
    ...texts.map((each) => {
      const [one, other] = [luminance(getComputedStyle(each).color), luminance(behind(each))];
      return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    }),
  );
})();
