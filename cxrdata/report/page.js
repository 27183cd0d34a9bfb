"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const drawn = Object.entries(figures).map(([name, specification]) => {
  const place = document.getElementById("chart-" + name);
  return vegaEmbed(place, specification, { mode: "vega-lite", renderer: "svg", actions: false })
    .catch((error) => { place.textContent = "This figure could not be drawn; its table has the same numbers."; console.error(name, error); });
});
Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = String(drawn.length); });
