"""The style sheets: colours for light and dark, the plots, the page and the printed page.

Nothing here is computed; `SVG_STYLE` is for plots that stand alone, `PAGE_STYLE` for the page.
Searchers have blue, violet and green, random search orange; the colours stay apart for the common
kinds of colour blindness as far as they can, and the marks differ in shape as well.
"""

from __future__ import annotations

_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",sans-serif'

_LIGHT = """
--page:#f6f5f1;--surface:#ffffff;--ink:#1d1c1a;--ink2:#5f5d57;--ink3:#8b8880;
--line:#e4e2db;--axis:#a9a69d;--guided1:#1f66c1;--guided2:#7a3fa8;--guided3:#177a5b;--random:#c55a00;
--good:#12704a;--good-wash:#e2f2e9;--bad:#ad2222;--bad-wash:#fbe7e5;--wash:#efede7;
--beyond:#1d1c1a0d;--limit:#5f5d57;--chip-ink:#ffffff;
--t1:#bfe0d9;--t2:#86c2b8;--t3:#3f978b;--t4:#156b62;--t5:#0a443e;--on-t1:#0a443e;--on-t3:#ffffff;
--curve1:#7d7a72;--curve2:#3f978b;--curve3:#0d4f86;
"""
_DARK = """
--page:#131312;--surface:#1c1c1a;--ink:#eeece6;--ink2:#aaa79e;--ink3:#7f7c74;
--line:#31302c;--axis:#6a675f;--guided1:#6fa8f5;--guided2:#c49bf0;--guided3:#63c7a3;--random:#f09545;
--good:#6fce9f;--good-wash:#173526;--bad:#ff8f85;--bad-wash:#43201d;--wash:#282723;
--beyond:#ffffff0c;--limit:#aaa79e;--chip-ink:#131312;
--t1:#1d4842;--t2:#28645b;--t3:#378a7e;--t4:#62b8ab;--t5:#a5dfd6;--on-t1:#d8f3ee;--on-t3:#0b1f1c;
--curve1:#98958b;--curve2:#4fb3a5;--curve3:#79b8f2;
"""

_PLOT = """
.plot text{fill:var(--ink)}
.plot .tick,.plot .title,.plot .legend{fill:var(--ink2)}
.plot .tick{font-variant-numeric:tabular-nums}
.plot .grid{stroke:var(--line);stroke-width:1}
.plot .axis{stroke:var(--axis);stroke-width:1}
.plot .mark{stroke-width:1.5;pointer-events:all;stroke-linejoin:round}
.plot .guided1{--c:var(--guided1)}.plot .guided2{--c:var(--guided2)}
.plot .guided3{--c:var(--guided3)}
.plot .random{--c:var(--random)}
.plot .neutral{--c:var(--ink2)}
.plot .mark.in{fill:var(--c);fill-opacity:.72;stroke:var(--surface);stroke-width:.8}
.plot .mark.over{
  fill:var(--surface);fill-opacity:.01;stroke:var(--c);stroke-width:1.2;stroke-opacity:.75
}
.plot .mark.front{fill-opacity:1;stroke-opacity:1;stroke-width:1.4}
.plot .point:hover .mark{stroke:var(--ink);stroke-width:2;stroke-opacity:1}
.plot .whisker line{stroke:var(--ink3);opacity:.4}
.plot .point:hover .whisker line{stroke:var(--ink);opacity:1}
.plot.quiet .whisker{opacity:0}
.plot.quiet .on-front .whisker,.plot.quiet .point:hover .whisker{opacity:1}
.plot .thread{stroke:var(--ink3);stroke-width:.8;stroke-dasharray:1.5 2}
.plot .bar{stroke:var(--ink3);stroke-width:1.6}
.plot .cap{stroke:var(--ink3);stroke-width:1.1}
.plot .front-line{fill:none;stroke:var(--ink2);stroke-width:1.4;stroke-linejoin:round}
.plot .progress{fill:none;stroke:var(--c);stroke-width:1.7;stroke-linejoin:round}
.plot .beyond{fill:var(--beyond)}
.plot .limit{stroke:var(--limit);stroke-width:1.3;stroke-dasharray:5 3}
.plot .limit-label{fill:var(--ink2);font-weight:600}
.plot .pick-ring{fill:none;stroke:var(--ink);stroke-width:2;pointer-events:all}
.plot .pick-core{fill:var(--ink);stroke:var(--surface);stroke-width:1}
.plot .callout{paint-order:stroke;stroke:var(--surface);stroke-width:3.5px;stroke-linejoin:round}
.plot .strong{font-weight:650}
.plot .named{--c:var(--ink2)}.plot .named.random{--c:var(--random)}
.plot .leader{stroke:var(--c);stroke-width:1}
.plot .named-ring{fill:none;stroke:var(--c);stroke-width:1.2;pointer-events:all}
.plot .curve{fill:none;stroke-width:1.7;stroke-linejoin:round}
.plot .smallest{--c:var(--curve1)}
.plot .curve.random,.plot .curve-name.random,.plot .dot.random{--c:var(--curve2)}
.plot .largest{--c:var(--curve3)}
.plot .curve{stroke:var(--c)}.plot .dot{fill:var(--c)}
.plot .curve-name{fill:var(--c);font-weight:600}
.plot .span{pointer-events:all}
.plot .span.before{fill:var(--surface);stroke:var(--ink3);stroke-width:1.2}
.plot .span.after{fill:var(--guided1)}
.plot .choice{fill:var(--ink3);stroke:var(--surface);stroke-width:.8;pointer-events:none}
"""

_PAGE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 FONT}
main{max-width:1180px;margin:0 auto;padding:36px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 8px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:21px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h3{font-size:15px;margin:28px 0 8px}
p{margin:0 0 8px;max-width:78ch;overflow-wrap:anywhere}
a{color:inherit}
.lead{font-size:17px;max-width:90ch;color:var(--ink2);margin-bottom:4px}
.note{color:var(--ink2);font-size:13px;max-width:120ch}
.plots+.note{margin-top:12px}
.arch+.note{margin-bottom:14px}
.mono{
  font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;font-size:.88em;
  overflow-wrap:anywhere
}
.cards{
  display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:16px;
  margin:24px 0 8px
}
.card,.panel{background:var(--surface);border:1px solid var(--line);border-radius:10px}
.card{padding:18px 20px;display:flex;flex-direction:column;gap:12px}
.card h2{font-size:17px;margin:0}
.card h2 a{text-decoration:none}
.card h2 a:hover{text-decoration:underline}
.panel{padding:24px;margin-top:24px}
.figures{display:grid;grid-template-columns:1fr 1fr;gap:12px 20px;margin:0}
.figures dt{color:var(--ink2);font-size:13px}
.figures dd{margin:0;font-size:23px;line-height:1.25;font-weight:620;letter-spacing:-.01em}
.figures dd small{
  display:block;font-size:12.5px;font-weight:400;color:var(--ink2);letter-spacing:0;
  line-height:1.4
}
.meter{height:5px;border-radius:3px;background:var(--wash);margin:4px 0 3px;overflow:hidden}
.meter i{display:block;height:100%;background:var(--ink2)}
.meter.bad i{background:var(--bad)}
.chip{
  align-self:flex-start;font-size:13px;padding:3px 10px;border-radius:8px;
  background:var(--wash);color:var(--ink2);overflow-wrap:anywhere
}
.chip.good{background:var(--good-wash);color:var(--good)}
.chip.bad{background:var(--bad-wash);color:var(--bad)}
.card .chip{margin-top:auto}
.cards.four{grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}
.plots{
  display:grid;grid-template-columns:minmax(0,1.66fr) minmax(0,1fr);gap:24px;align-items:end;
  margin-top:18px
}
.plots.three{grid-template-columns:repeat(3,minmax(0,1fr))}
svg.plot{display:block;width:100%;height:auto;overflow:visible;font-family:FONT}
svg.plot.narrow{display:none}
.options s{color:var(--ink3)}.options small{color:var(--ink2)}
.scroll{overflow-x:auto;margin:0 0 8px}
table{border-collapse:collapse;font-size:13px;width:100%}
th,td{
  padding:5px 11px 5px 0;text-align:left;white-space:nowrap;vertical-align:top;
  border-bottom:1px solid var(--line)
}
th{color:var(--ink2);font-weight:600}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.wide{min-width:220px;white-space:normal;overflow-wrap:anywhere}
tr.chosen td{background:var(--wash);font-weight:600}
tr.chosen td:first-child{box-shadow:-8px 0 0 var(--wash)}
.panel>h2+dl,.panel>h2+.scroll{margin-top:12px}
details{margin-top:14px}
summary{cursor:pointer;font-weight:600;font-size:15px;padding:4px 0}
summary span{font-weight:400;color:var(--ink2)}
details[open] summary{margin-bottom:6px}
dl.facts{
  display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;margin:0;
  font-size:14px
}
dl.facts dt{color:var(--ink2)}dl.facts dd{margin:0;overflow-wrap:anywhere}
.arch{display:flex;flex-wrap:wrap;gap:14px 8px;align-items:stretch;margin:6px 0 10px}
.stage{
  display:flex;flex-direction:column;background:var(--page);border-radius:8px;padding:7px 9px;
  min-width:74px
}
.stage.end{background:none;padding:7px 2px;min-width:0}.stage.end .stage-blocks{min-height:0}
.stage-name,.stage-note{font-size:12px;color:var(--ink2);white-space:nowrap}
.stage-blocks{display:flex;gap:4px;align-items:flex-end;flex:1;min-height:74px;padding:6px 0 4px}
.block,.end-box{
  border-radius:5px;display:flex;flex-direction:column;align-items:center;
  justify-content:center;font-size:12px;line-height:1.25
}
.block{width:42px}.block b{font-weight:650}
.end-box{border:1px solid var(--axis);padding:5px 8px;min-height:34px}
.k1{background:var(--t1);color:var(--on-t1)}.k3{background:var(--t1);color:var(--on-t1)}
.k5{background:var(--t2);color:var(--on-t2,var(--on-t1))}
.k7{background:var(--t4);color:var(--on-t3)}
.k9,.k-other{background:var(--t5);color:var(--on-t3)}
.phases{
  display:grid;grid-template-columns:max-content minmax(0,1fr) max-content;gap:6px 14px;
  align-items:center;font-size:14px;margin-top:12px
}
.phases i{display:block;height:12px;border-radius:0 4px 4px 0;background:var(--t3);min-width:1px}
.phases .n{font-variant-numeric:tabular-nums;text-align:right}
@media (max-width:760px){
main{padding:22px 12px 40px}
h1{font-size:24px}
.panel{padding:18px 14px}
.card{padding:16px 14px}
.plots,.plots.three{grid-template-columns:minmax(0,1fr)}
svg.plot.wide{display:none}svg.plot.narrow{display:block}
dl.facts{grid-template-columns:minmax(0,1fr);gap:0}dl.facts dd{margin-bottom:8px}
}
@media print{
body{background:#fff;font-size:11pt}
main{max-width:none;padding:0}
.card,.panel{break-inside:auto;border-color:#ccc}
.card,.plots,.arch,tr,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
svg.plot.wide{display:block}svg.plot.narrow{display:none}
.plots,.plots.three{grid-template-columns:minmax(0,1fr);gap:10px}
.plots>:last-child{width:62%}
.scroll{overflow:visible}
table{font-size:8pt}
th,td{padding-right:6px;white-space:normal}
td.wide{min-width:0}
dl.facts{grid-template-columns:max-content minmax(0,1fr);gap:4px 20px}
dl.facts dd{margin:0}
}
"""


def _themed(root: str) -> str:
    """Return the colours for `root`, dark on screens that ask for it, light on paper."""
    return (
        f"{root}{{{_LIGHT}color-scheme:light dark}}"
        f"@media screen and (prefers-color-scheme:dark){{{root}{{{_DARK}}}}}"
    )


SVG_STYLE = f"{_themed('.plot')}.plot{{background:var(--surface);font-family:{_FONT}}}{_PLOT}"
PAGE_STYLE = f"{_themed(':root')}{_PLOT}{_PAGE.replace('FONT', _FONT)}"
