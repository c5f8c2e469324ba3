// Times, live updates, dialogs, keys, copy buttons. Pages work without it; it only makes them quicker.
'use strict';
{
  const NBSP = '\u00a0';
  const all = (query, root = document) => [...root.querySelectorAll(query)];

  // ---- times: the server writes UTC, this moves relative ones on and shows exact ones in the reader's zone
  let skew = 0;                                             // server minus browser, ms
  const coarse = (s) => s < 60 ? `${Math.floor(s)}${NBSP}s` : s < 3600 ? `${Math.floor(s / 60)}${NBSP}m`
    : s < 172800 ? `${Math.floor(s / 3600)}${NBSP}h` : `${Math.floor(s / 86400)}${NBSP}d`;
  const day = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const exact = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'long' });
  function times(root = document) {
    for (const el of all('time[data-rel]', root)) {
      const at = Date.parse(el.dateTime), passed = Math.max(0, (Date.now() + skew - at) / 1000);
      const text = el.dataset.rel === 'for' ? coarse(passed) : passed < 1.5 ? 'now' : passed >= 86400 ? day.format(at) : `${coarse(passed)} ago`;
      if (el.textContent !== text) el.textContent = text;
      if (!el.dataset.zoned) { el.title = exact.format(at); el.dataset.zoned = '1'; }
    }
  }

  // ---- live: asks what has changed and puts it in place; what stands under the pointer waits, ten seconds at most
  const EVERY_MS = Number(document.body.dataset.every) || 2000, WAIT_MS = 10000, SLOWEST_MS = 30000;
  const body = document.body, live = body.dataset.live;
  let since = body.dataset.since, paused = false, heard = Date.now(), delay = EVERY_MS;
  const waiting = new Map();
  const inUse = (el) => el.hasAttribute('data-moves') && (el.matches(':hover') || el.contains(document.activeElement));
  function place(name, html) {
    const el = document.getElementById(name);
    if (!el) return;
    if (inUse(el)) {
      waiting.set(name, { html, by: waiting.get(name)?.by ?? Date.now() + WAIT_MS });
      return;
    }
    waiting.delete(name);
    if (el.tagName === 'SCRIPT') { el.textContent = html; dispatchEvent(new Event('mapdata')); return; }
    const open = all('details[id]', el).map((one) => [one.id, one.open]);
    const focus = el.contains(document.activeElement) ? document.activeElement.id : '';
    const log = el.querySelector('.log'), atEnd = log && log.scrollHeight - log.scrollTop - log.clientHeight < 40, top = log?.scrollTop;
    el.innerHTML = html;                                    // from this server, escaped there; the policy bars scripts in it
    for (const [id, was] of open) { const one = document.getElementById(id); if (one) one.open = was; }
    if (focus) document.getElementById(focus)?.focus();
    const next = el.querySelector('.log');
    if (next) next.scrollTop = atEnd ? next.scrollHeight : top;
    dress(el);
  }
  function settle() {
    for (const [name, { html, by }] of [...waiting]) {
      const el = document.getElementById(name);
      if (!el || !inUse(el) || Date.now() > by) { waiting.delete(name); el?.blur(); const moves = el?.getAttribute('data-moves'); el?.removeAttribute('data-moves'); place(name, html); if (moves !== null) el?.setAttribute('data-moves', ''); }
    }
  }
  function say() {
    const el = document.getElementById('live');
    if (!el) return;
    const late = Date.now() - heard > 3 * EVERY_MS + 1000;
    el.classList.toggle('warn', late && !paused);
    el.querySelector('span').textContent = paused ? 'Paused' : late ? `Last seen ${new Date(heard).toLocaleTimeString('en', { hourCycle: 'h23' })}` : 'Live';
    el.querySelector('i').classList.toggle('off', paused || late);
  }
  async function ask() {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch(`${live}&since=${encodeURIComponent(since)}`, { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(20000) });
        if (answer.status === 200) { const news = await answer.json(); since = news.revision; for (const [name, html] of Object.entries(news.parts)) place(name, html); }
        const set = answer.headers.get('Pilotlight-Switch');
        if (set && set !== body.dataset.switch && !document.querySelector('dialog[open]')) { location.reload(); return; }
        if (answer.ok) { heard = Date.now(); delay = EVERY_MS; const at = Date.parse(answer.headers.get('Date')); if (at) skew = Math.abs(at - heard) > 3000 ? at - heard : 0; }
        else if (answer.status === 404 || answer.status === 401) { paused = true; }
        else delay = Math.min(SLOWEST_MS, delay * 2);
      } catch { delay = Math.min(SLOWEST_MS, delay * 2); }
    }
    say();
    setTimeout(ask, delay);
  }
  function pause(to = !paused) {
    paused = to;
    const button = document.getElementById('pause');
    button?.setAttribute('aria-pressed', String(paused));
    button?.setAttribute('aria-label', paused ? 'Resume live updates' : 'Pause live updates');
    say();
  }

  // ---- what a new piece of page needs
  function dress(root) {
    times(root);
    for (const el of all('[data-script]', root)) el.hidden = false;
    if (navigator.clipboard) for (const el of all('[data-copy]', root)) el.hidden = false;
  }

  // ---- clicks
  addEventListener('click', (event) => {
    const el = event.target.closest?.('[data-dialog], [data-close], [data-copy], [data-go], [data-toggle]');
    if (!el) return;
    if (el.dataset.dialog) { const box = document.getElementById(el.dataset.dialog); if (box?.showModal) { event.preventDefault(); box.showModal(); } }
    else if ('close' in el.dataset) el.closest('dialog').close();
    else if ('go' in el.dataset) { const box = el.closest('dialog'); box.close(); box.form.submit(); }
    else if ('copy' in el.dataset) {
      navigator.clipboard.writeText(el.closest('.cmd').querySelector('code').textContent).then(() => { el.setAttribute('aria-label', 'Copied'); el.classList.add('good'); });
    }
  });
  addEventListener('submit', (event) => {
    const box = document.getElementById(event.target.dataset.confirm ?? '');
    if (!box?.showModal) return;
    event.preventDefault();
    box.form = event.target;
    const said = box.querySelector('[data-said]');
    if (said) said.textContent = event.target.dataset.say;
    box.showModal();
  });

  // ---- a command typed as in a shell, on one line, is one argument: said while it is typed
  addEventListener('input', (event) => {
    const said = document.getElementById(event.target.dataset?.arguments ?? '');
    if (said) said.hidden = !/^(?!\[)\S+[^\S\n]+.+$/.test(event.target.value.trim());
  });

  // ---- keys: never in inputs, never with modifiers, and they can be switched off
  const rows = () => all('main tr[data-row]');
  let mark = -1, wentG = 0;
  const keysOn = () => localStorage.getItem('keys') !== 'off';
  function move(by) {
    const list = rows();
    if (!list.length) return;
    list[mark]?.classList.remove('at');
    mark = Math.max(0, Math.min(list.length - 1, mark + by));
    list[mark].classList.add('at');
    list[mark].querySelector('a')?.focus({ preventScroll: true });
    list[mark].scrollIntoView({ block: 'nearest' });
  }
  addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select, [contenteditable]') || document.querySelector('dialog[open]');
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keysOn()) return;
    const key = event.key;
    if (Date.now() - wentG < 1500) { wentG = 0; const to = document.querySelector(`.nav [data-key="${CSS.escape(key)}"]`); if (to) { event.preventDefault(); to.click(); return; } }
    const act = { '/': () => document.getElementById('find')?.focus(), g: () => { wentG = Date.now(); }, j: () => move(1), k: () => move(-1),
      '.': () => pause(), '?': () => document.getElementById('keys')?.showModal() }[key];
    if (act) { event.preventDefault(); act(); }
  });

  addEventListener('DOMContentLoaded', () => {
    dress(document);
    setInterval(() => { times(); settle(); }, 1000);
    document.getElementById('pause')?.addEventListener('click', () => pause());
    const keys = document.getElementById('keys-on');
    if (keys) { keys.checked = keysOn(); keys.addEventListener('change', () => localStorage.setItem('keys', keys.checked ? 'on' : 'off')); }
    document.getElementById('problems')?.focus();
    const log = document.querySelector('.log');
    if (log && live && !location.hash) log.scrollTop = log.scrollHeight;
    if (live) setTimeout(ask, EVERY_MS);
    document.addEventListener('visibilitychange', () => { if (!document.hidden && live) delay = EVERY_MS; });
  });
}
