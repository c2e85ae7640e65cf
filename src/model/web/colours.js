// SPDX-License-Identifier: Apache-2.0
// Colours, light and dark, that colour-blind people can tell apart, and a second sign for each
// node: the dashes of its line.

const PALETTES = {
  light: {
    nodes: ['#0072b2', '#c44e00', '#007a5a', '#a8478a', '#8a5c00', '#0e7c96', '#6246b0', '#4b4b4b'],
    text: '#1b2330',
    quiet: '#5b6575',
    grid: '#e3e7ed',
    ideal: '#6a7482',
    back: '#ffffff',
    past: '#0072b2',
    future: '#c44e00',
    faded: '#c3cad4',
  },
  dark: {
    nodes: ['#5cb8f0', '#ff9350', '#35cba1', '#e79acb', '#e6b73a', '#a5d5f7', '#b9a6f5', '#d0d0d0'],
    text: '#e8ecf2',
    quiet: '#a2adbd',
    grid: '#2b3442',
    ideal: '#8d98a8',
    back: '#151b24',
    past: '#5cb8f0',
    future: '#ff9350',
    faded: '#46505f',
  },
};
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
const THEMES = ['auto', 'light', 'dark'];
let theme = 'auto';

function isDark() {
  return theme === 'dark' || (theme === 'auto' && systemDark.matches);
}

function palette() {
  return isDark() ? PALETTES.dark : PALETTES.light;
}

function dashOf(place) {
  return (place + Math.floor(place / PALETTES.light.nodes.length)) % DASHES.length;
}

// What tells the node in the given place among those shown from the others.
function nodeStyle(place) {
  const {nodes: colours} = palette();
  return {
    stroke: colours[place % colours.length],
    dash: DASHES[dashOf(place)],
  };
}

// Runs `redraw` whenever the colours change.
function watchTheme(redraw) {
  const button = byId('theme');
  const apply = () => {
    document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
    const said = {auto: 'as the system has them', light: 'light', dark: 'dark'}[theme];
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute('aria-label', `Colours: ${said}`);
    redraw();
  };
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    apply();
  });
  systemDark.addEventListener('change', apply);
  apply();
}

// A short line as a chart draws it, for tables and legends.
function lineSample(place) {
  const {stroke, dash} = nodeStyle(place);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  svg.setAttribute('viewBox', '0 0 28 8');
  svg.setAttribute('class', 'sample');
  svg.setAttribute('aria-hidden', 'true');
  for (const [name, value] of Object.entries({
    x1: 0,
    y1: 4,
    x2: 28,
    y2: 4,
    stroke,
    'stroke-width': 3,
    'stroke-dasharray': dash.join(' '),
  })) {
    line.setAttribute(name, value);
  }
  svg.append(line);
  return svg;
}
