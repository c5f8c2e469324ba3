// The warm map: one canvas per pool, one square per bot.
// Fill says what a bot holds, the mark in it what it does, the edge what is wrong. Data: see handlers/ui/fleet_map.py.
'use strict';
{
  const SEGMENTS = [['Ready', ['idle']], ['Background', ['warming']], ['Busy', ['busy']], ['Out', ['quarantined', 'maintenance', 'silent', 'dead']]];
  const OUT = SEGMENTS[3][1], PITCHES = [6, 10, 14, 20, 34, 58], CAPTION = 18, GAP = 12;
  const FONT = '"Inter Variable", Inter, "Liberation Sans", Arial, sans-serif';
  const PALE_INK = ['fam-2', 'fam-5', 'fam-7'];                 // dark fills: white letters
  const gutter = (pitch) => (pitch >= 15 ? 3 : pitch >= 10 ? 2 : 1);
  const host = document.getElementById('map');
  let fleet = { families: {}, pools: [] }, colours = {}, zoom = null, shown = 20, lit = null, groups = [];
  const SAMPLES = { families: { sample: ['SA', 0, ''], other: ['OT', 1, ''] }, cells: { warm: ['idle', ['sample']], two: ['idle', ['sample', 'other']],
    stale: ['idle', ['~sample']], cold: ['idle', ['']], dirty: ['idle', ['dirty']], busy: ['busy', ['sample']], bg: ['warming', ['sample']],
    quar: ['quarantined', ['']], maint: ['maintenance', ['']], silent: ['silent', ['']], dead: ['dead', ['']] } };

  function readColours() {          // light-dark() is resolved by asking for a used colour, not for the property's text
    const probe = document.createElement('i');
    document.body.append(probe);
    const get = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
    colours = Object.fromEntries(['ink', 'vacant', 'vacant-edge', 'surface', 'bad', 'text', 'text-2', 'text-3', 'accent', 'warn',
      'fam-1', 'fam-2', 'fam-3', 'fam-4', 'fam-5', 'fam-6', 'fam-7', 'fam-8', 'fam-4-edge', 'fam-6-edge'].map((n) => [n, get(`--${n}`)]));
    probe.remove();
  }
  const look = (state) => fleet.families[state.replace(/^~/, '')] ?? SAMPLES.families[state.replace(/^~/, '')];
  const isFamily = (state) => state !== '' && state !== 'dirty';
  const isOld = (state) => state.startsWith('~');
  const hue = (state) => `fam-${(look(state)[1] % 8) + 1}`;
  const fill = (state) => (isFamily(state) ? colours[hue(state)] : colours.vacant);
  const context = (canvas, width, height) => {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
    const c = canvas.getContext('2d'); c.scale(ratio, ratio); return c;
  };

  // Beyond eight families a pattern is cut out of the fill; nothing slanted, since slanted means background work.
  function pattern(c, state, x, y, w, h) {
    const step = Math.floor(look(state)[1] / 8) % 6;
    if (!step || w < 6) return;
    c.save(); c.beginPath(); c.rect(x, y, w, h); c.clip();
    c.strokeStyle = c.fillStyle = colours.surface; c.globalAlpha *= 0.6; c.lineWidth = 1.5; c.beginPath();
    if (step === 2 || step === 5) for (let d = 2.5; d < w; d += 5) { c.moveTo(x + d, y); c.lineTo(x + d, y + h); }
    if (step === 3 || step === 5) for (let d = 2.5; d < h; d += 5) { c.moveTo(x, y + d); c.lineTo(x + w, y + d); }
    c.stroke();
    if (step === 1) for (let a = 3; a < w; a += 5) for (let b = 3; b < h; b += 5) { c.beginPath(); c.arc(x + a, y + b, 1.2, 0, 7); c.fill(); }
    if (step === 4) for (let a = 0; a * 4 < w; a += 1) for (let b = a % 2; b * 4 < h; b += 2) c.fillRect(x + a * 4, y + b * 4, 4, 4);
    c.restore();
  }

  function drawCell(c, bot, x, y, size, label) {
    const n = bot.slots.length, big = size >= 11, out = OUT.includes(bot.act);
    c.save();
    c.beginPath(); c.roundRect(x, y, size, size, size > 9 ? 2.5 : 1); c.clip();
    if (bot.act !== 'idle') { c.fillStyle = colours.surface; c.fillRect(x, y, size, size); }
    if (bot.act === 'warming') {                        // fills from below as the background task gets on
      const top = y + size * (1 - bot.done);
      c.fillStyle = fill(bot.slots[0]); c.globalAlpha = 0.3; c.fillRect(x, top, size, y + size - top); c.globalAlpha = 1;
      c.beginPath(); c.rect(x, top, size, y + size - top); c.clip();
      c.strokeStyle = isFamily(bot.slots[0]) ? fill(bot.slots[0]) : colours.accent; c.lineWidth = Math.max(1, size / 11); c.beginPath();
      for (let d = -size; d < size * 2; d += Math.max(3, size / 4.5)) { c.moveTo(x + d, y + size); c.lineTo(x + d + size, y); }
      c.stroke();
    } else if (!out) bot.slots.forEach((slot, k) => drawSlot(c, bot, slot, x + (size * k) / n, y, size / n, size, big));
    if (!out && bot.act !== 'warming' && n > 1 && big) { c.fillStyle = colours.surface; for (let k = 1; k < n; k += 1) c.fillRect(x + (size * k) / n - 0.5, y, 1, size); }
    c.restore();
    drawEdge(c, bot, x, y, size, big, out);
    drawMark(c, bot, x, y, size, label);
    if (size >= 50) { c.font = `9px ${FONT}`; c.textAlign = 'center'; c.fillStyle = nameInk(bot); c.fillText(bot.name.slice(-9), x + size / 2, y + size - 8); }
  }

  function nameInk(bot) {
    const slot = bot.slots[0] ?? '';
    if (bot.act !== 'idle' || bot.slots.length > 1 || !isFamily(slot) || isOld(slot)) return colours.text;
    return PALE_INK.includes(hue(slot)) ? '#fff' : '#0a1016';
  }

  function drawSlot(c, bot, slot, left, y, width, size, big) {
    c.fillStyle = slot === 'dirty' || isOld(slot) ? colours.surface : fill(slot);
    if (bot.act === 'busy' && isFamily(slot)) c.globalAlpha = 0.5;          // taken: quieter than what is ready
    c.fillRect(left, y, width, size);
    if (isFamily(slot) && !isOld(slot)) pattern(c, slot, left, y, width, size);
    if (isOld(slot)) { c.fillStyle = fill(slot); c.fillRect(left, y + size * 0.72, width, size * 0.28); }   // an old generation: the foot only
    c.globalAlpha = 1;
    const rim = isFamily(slot) && colours[`${hue(slot)}-edge`];
    if (rim && big) { c.strokeStyle = rim; c.lineWidth = 1; c.beginPath(); c.roundRect(left + 0.5, y + 0.5, width - 1, size - 1, 2); c.stroke(); }
    if (slot === 'dirty') {
      c.strokeStyle = colours.warn; c.lineWidth = 1.5; c.beginPath();
      for (let d = 0; d < 2; d += 1) { c.moveTo(left, y + size * (0.55 + d * 0.5)); c.lineTo(left + width, y + size * (0.05 + d * 0.5)); }
      c.stroke();
    }
  }

  function drawEdge(c, bot, x, y, size, big, out) {
    const edge = (colour, width, dash) => { c.strokeStyle = colour; c.lineWidth = width; c.setLineDash(dash || []);
      c.beginPath(); c.roundRect(x + width / 2, y + width / 2, size - width, size - width, 2.5); c.stroke(); c.setLineDash([]); };
    const mid = x + size / 2, low = y + size / 2, arm = size * 0.2;
    if (bot.act === 'quarantined') { edge(colours.bad, big ? 2 : 1); c.lineWidth = 1.8; c.beginPath();
      c.moveTo(mid - arm, low - arm); c.lineTo(mid + arm, low + arm); c.moveTo(mid + arm, low - arm); c.lineTo(mid - arm, low + arm); c.stroke(); }
    if (bot.act === 'maintenance') { edge(colours['text-3'], 1.25); c.strokeStyle = colours['text-3']; c.lineWidth = 1.5; c.beginPath();
      for (const d of [-arm, 0, arm]) { c.moveTo(mid - arm - 1, low + d); c.lineTo(mid + arm + 1, low + d); } c.stroke(); }
    if (bot.act === 'silent') edge(colours['text-3'], 1.25, [5, 2]);
    if (bot.act === 'dead') edge(colours['vacant-edge'], 1, [2, 2]);
    if (bot.act === 'warming') edge(isFamily(bot.slots[0]) ? fill(bot.slots[0]) : colours.accent, 1.25);
    if (!out && bot.act !== 'warming' && bot.slots.some((slot) => !isFamily(slot) || isOld(slot))) edge(colours['vacant-edge'], 0.75);
  }

  function drawMark(c, bot, x, y, size, label) {
    const roomy = size >= 30, codes = bot.slots.filter((slot) => isFamily(slot) && !isOld(slot));
    if (bot.act === 'busy' && size >= 8) {              // smaller than that, the paler fill alone says it
      const mark = roomy ? 8 : Math.round(size * (label ? 0.74 : 0.38));
      const left = x + Math.round((size - mark) / 2), top = roomy ? y + size - mark - 5 : y + Math.round((size - mark) / 2);
      c.fillStyle = colours.ink; c.beginPath(); c.roundRect(left, top, mark, mark, 1.5); c.fill();
    }
    if (!label || !codes.length || size < 15 || OUT.includes(bot.act) || (!roomy && codes.length > 1)) return;
    const mid = x + size / 2, low = y + size / 2;
    c.font = `700 ${roomy ? (bot.slots.length > 1 ? 9 : 11) : 8.5}px ${FONT}`; c.textAlign = 'center'; c.textBaseline = 'middle';
    if (bot.act === 'warming') { c.fillStyle = colours.surface; c.beginPath(); c.roundRect(mid - 9, low - 7, 18, 14, 2); c.fill(); }
    bot.slots.forEach((slot, k) => {
      if (!isFamily(slot) || isOld(slot) || (bot.act === 'warming' && k)) return;
      const at = bot.act === 'warming' ? mid : x + (size * (k + 0.5)) / bot.slots.length, row = bot.act === 'busy' && roomy ? y + size * 0.34 : low + 0.5;
      const patterned = Math.floor(look(slot)[1] / 8) % 6 && bot.act !== 'warming' && (bot.act !== 'busy' || roomy);
      if (patterned) { c.fillStyle = colours.surface; c.beginPath(); c.roundRect(at - 7.5, row - 6, 15, 12, 2); c.fill(); }
      c.fillStyle = bot.act === 'busy' && !roomy ? colours.surface : bot.act === 'idle' && !patterned ? (PALE_INK.includes(hue(slot)) ? '#fff' : '#0a1016') : colours.text;
      c.fillText(look(slot)[0], at, row);
    });
  }

  // Column by column, so that a block's width shows its share.
  function layout(bots, least, columns, pitch) {
    const blocks = SEGMENTS.map(([name, acts]) => ({ name, bots: bots.filter((b) => acts.includes(b.act)) })).filter((b) => b.bots.length);
    const probe = document.createElement('canvas').getContext('2d');
    probe.font = `500 11px ${FONT}`;
    const place = (rows) => {
      let x = 0; const cells = [], captions = [];
      for (const block of blocks) {
        const text = `${block.name} ${block.bots.length.toLocaleString('en')}`;
        captions.push([x, text]);
        block.bots.forEach((bot, k) => cells.push({ bot, x: x + Math.floor(k / rows) * pitch, y: CAPTION + (k % rows) * pitch,
          label: pitch >= 34 || (pitch >= 18 && bot.slots.length === 1 && isFamily(bot.slots[0]) && (k === 0 || String(block.bots[k - 1].slots) !== String(bot.slots))) }));
        x += Math.max(Math.ceil(block.bots.length / rows) * pitch - gutter(pitch), probe.measureText(text).width) + GAP;
      }
      return { cells, captions, width: Math.max(1, Math.ceil(x - GAP + 4)), height: CAPTION + rows * pitch - 2, rows };
    };
    let rows = least;
    while (place(rows).width > columns && rows < 400) rows += 1;
    return place(rows);
  }

  function draw() {
    readColours();
    const width = host.clientWidth - parseFloat(getComputedStyle(host).paddingLeft) * 2, phone = width < 560;
    const total = groups.reduce((sum, g) => sum + g.bots.length, 0);
    // the largest squares with which the whole map stays near one screen; a choice by hand wins
    const sizes = phone ? [34, 18, 14, 10, 6] : [58, 34, 20, 14, 10, 6];
    const fits = sizes.find((p) => (total * p * p) / width < (p > 20 ? 60 : phone ? 900 : 420));
    const pitch = shown = zoom ?? fits ?? PITCHES[0];
    // all groups share the row count of the largest one, so that areas compare; on a phone each finds its own
    const least = pitch > 30 ? 1 : phone ? 5 : 3;
    const rows = phone ? least : Math.max(least, ...groups.map((g) => layout(g.bots, least, width, pitch).rows));
    for (const group of groups) {
      const plan = layout(group.bots, Math.min(rows, Math.max(1, group.bots.length)), width, pitch), c = context(group.canvas, plan.width, plan.height);
      c.font = `500 11px ${FONT}`; c.fillStyle = colours['text-3']; c.textBaseline = 'alphabetic'; c.textAlign = 'left';
      for (const [x, text] of plan.captions) c.fillText(text, x, 11);
      for (const cell of plan.cells) {
        c.globalAlpha = lit && !cell.bot.slots.includes(lit) ? 0.18 : 1;
        drawCell(c, cell.bot, cell.x, cell.y, pitch - gutter(pitch), cell.label);
      }
      c.globalAlpha = 1;
      if (group.at !== undefined && document.activeElement === group.canvas && plan.cells[group.at]) {
        const cell = plan.cells[group.at];
        for (const [colour, line] of [[colours.surface, 5], [colours.text, 2]]) { c.strokeStyle = colour; c.lineWidth = line; c.strokeRect(cell.x - 0.5, cell.y - 0.5, pitch - 2, pitch - 2); }
      }
      group.plan = plan; group.pitch = pitch;
    }
    for (const sample of document.querySelectorAll('canvas[data-cell]')) {
      const [act, slots] = SAMPLES.cells[sample.dataset.cell];
      drawCell(context(sample, 16, 16), { act, slots, done: 0.6, name: '' }, 0, 0, 16, false);
    }
  }

  // ---- tip, pointer, keys
  const tip = document.createElement('div');
  tip.className = 'tip'; tip.hidden = true; tip.setAttribute('aria-live', 'polite'); document.body.append(tip);
  const since = (s) => { const p = Math.max(0, Date.now() / 1000 - s); return p < 90 ? `${Math.round(p)} s` : p < 5400 ? `${Math.round(p / 60)} m` : `${Math.round(p / 3600)} h`; };
  function describe(bot) {
    const words = { quarantined: `Quarantined: ${bot.text}`, maintenance: `Maintenance: ${bot.text}`, dead: 'Gone' };
    tip.replaceChildren();
    const add = (cls, text) => { const e = document.createElement('div'); e.className = cls; e.textContent = text; tip.append(e); };
    add('h', bot.name);
    add('', `${words[bot.act] ?? bot.text.charAt(0).toUpperCase() + bot.text.slice(1)}${bot.since ? ` · ${since(bot.since)}` : ''}`);
    const table = document.createElement('table');
    for (const slot of bot.slots) {
      const row = table.insertRow(), name = slot.replace(/^~/, '');
      row.insertCell().textContent = isFamily(slot) ? name : slot || 'cold';
      row.insertCell().textContent = isFamily(slot) ? (isOld(slot) ? 'old generation' : look(slot)[2].slice(0, 14)) : '';
    }
    tip.append(table); add('t3', 'Enter or click: its page');
  }
  const open = (bot) => { location.href = `/bots/${encodeURIComponent(bot.name)}`; };
  function tipAt(left, top) { tip.hidden = false; tip.style.left = `${Math.max(8, Math.min(scrollX + left, scrollX + innerWidth - 310))}px`; tip.style.top = `${scrollY + top}px`; }
  function listen(group) {
    const canvas = group.canvas;
    const hit = (event) => {                             // the nearest square, so that small ones can be hit
      const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      return group.plan.cells.find((k) => x >= k.x && x < k.x + group.pitch && y >= k.y && y < k.y + group.pitch);
    };
    canvas.addEventListener('pointermove', (event) => {
      const cell = hit(event); tip.hidden = !cell;
      if (cell) { describe(cell.bot); tipAt(event.clientX + 14, event.clientY + 14); }
    });
    canvas.addEventListener('click', (event) => { const cell = hit(event); if (cell) open(cell.bot); });
    canvas.addEventListener('keydown', (event) => {
      const cells = group.plan.cells, move = { ArrowDown: 1, ArrowUp: -1, ArrowRight: group.plan.rows, ArrowLeft: -group.plan.rows, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === 'Escape') tip.hidden = true;
      if (event.key === 'Enter' && cells[group.at]) open(cells[group.at].bot);
      if (move === undefined || !cells.length) return;
      event.preventDefault();
      group.at = Math.max(0, Math.min(cells.length - 1, (group.at ?? 0) + move));
      draw();
      const box = canvas.getBoundingClientRect(), cell = cells[group.at];
      describe(cell.bot); tipAt(box.left + cell.x + group.pitch + 6, box.top + cell.y + group.pitch + 6);
    });
    canvas.addEventListener('blur', () => { tip.hidden = true; draw(); });
    canvas.addEventListener('pointerleave', () => { tip.hidden = true; });
  }

  function takeIn() {
    const old = new Map(groups.map((group) => [group.name, group]));
    fleet = JSON.parse(document.getElementById('map-data').textContent);
    groups = fleet.pools.map((pool) => {
      const group = old.get(pool.pool) ?? build(pool.pool);
      group.bots = pool.squares.map(([name, act, slots, done, from, text]) => ({ name, act, slots, done, since: from, text }));
      const busy = pool.bots ? Math.round((100 * pool.busy) / pool.bots) : 0;
      group.head.replaceChildren();
      const part = (tag, cls, text) => { const e = document.createElement(tag); e.className = cls; e.textContent = text; group.head.append(e); return e; };
      part('a', 'nm', pool.pool).href = `/bots?pool=${encodeURIComponent(pool.pool)}`;
      part('span', pool.mode === 'live' ? 'tag good' : 'tag', { live: 'Live', shadow: 'Shadow', off: 'Off' }[pool.mode]);
      part('span', 'ct', pool.bots ? `${pool.bots.toLocaleString('en')} bot${pool.bots === 1 ? '' : 's'} · ${busy} % busy · ${pool.idle} idle, reserve ${pool.reserve}` : 'no bots yet');
      group.canvas.hidden = !pool.bots;
      group.canvas.setAttribute('aria-label', `${pool.pool}: ${SEGMENTS.map(([n, acts]) => `${n} ${group.bots.filter((b) => acts.includes(b.act)).length}`).join(', ')}. Arrow keys move between bots.`);
      old.delete(pool.pool);
      return group;
    });
    for (const gone of old.values()) gone.section.remove();
    draw();
  }
  function build(name) {
    const section = document.createElement('section'), head = document.createElement('div'), canvas = document.createElement('canvas');
    section.className = 'grp'; head.className = 'gh'; canvas.tabIndex = 0; canvas.setAttribute('role', 'img');
    section.append(head, canvas); host.append(section);
    const group = { name, section, head, canvas, bots: [] };
    listen(group);
    return group;
  }

  if (host) {
    takeIn();
    addEventListener('mapdata', takeIn);
    const step = (by) => { const now = PITCHES.findIndex((p) => p >= shown); zoom = PITCHES[Math.max(0, Math.min(PITCHES.length - 1, now + by))]; draw(); };
    document.getElementById('zi')?.addEventListener('click', () => step(1));
    document.getElementById('zo')?.addEventListener('click', () => step(-1));
    const light = (event) => { const row = event.target.closest?.('[data-fam]'), next = row?.dataset.fam ?? null; if (next !== lit) { lit = next; draw(); } };
    document.getElementById('stock')?.addEventListener('pointerover', light);
    document.getElementById('stock')?.addEventListener('pointerleave', () => { if (lit) { lit = null; draw(); } });
    let lastWidth = 0;
    new ResizeObserver(() => { if (host.clientWidth !== lastWidth) { lastWidth = host.clientWidth; requestAnimationFrame(draw); } }).observe(host);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
    document.fonts?.ready.then(draw);
  }
}
