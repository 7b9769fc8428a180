"""A small shop on Flask. What its visitors do, and every request, goes to Millrace; and who opens the help desk is met by
somebody who already knows: who this is, what they looked at, and what they did a moment ago.

    MILLRACE_WRITE_KEY=mr_... python3 app.py        # beside `make up`; README.md has the details
"""

import os
import re
import secrets
import signal
import sys
import time
import uuid

from flask import Flask, abort, g, redirect, render_template, request, session, url_for

from millrace import Millrace, MillraceError

GOODS = {
    good["sku"]: good
    for good in (
        {"sku": "FL-RYE-1", "name": "Rye Flour 1 kg", "category": "flour", "price": 2.9},
        {"sku": "FL-SPE-1", "name": "Spelt Flour 1 kg", "category": "flour", "price": 3.6},
        {"sku": "GR-OAT-2", "name": "Oat Flakes 2 kg", "category": "grain", "price": 4.8},
        {"sku": "MI-HND-1", "name": "Hand Mill, Oak", "category": "mills", "price": 129.0},
        {"sku": "BK-PROOF", "name": "Proofing Basket", "category": "baking", "price": 18.5},
        {"sku": "YE-SOUR", "name": "Dried Sourdough", "category": "leaven", "price": 6.4},
    )
}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def create_app(mill):
    app = Flask(__name__)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=64 << 10)
    # Without a key of its own, each start forgets who was here.
    app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex(32)

    def event(name, data=None, **fields):
        """One event of the visitor of this request. `fields` are further ones: type, traits, message_id."""
        who = {"anonymous_id": session["visitor"]}
        if "user" in session:
            who["user_id"] = session["user"]
        page = {"url": request.url, "path": request.path, "referrer": request.referrer or ""}
        if query := request.query_string.decode("utf-8", "replace"):
            page["search"] = "?" + query
        # Behind a proxy, let werkzeug.middleware.proxy_fix.ProxyFix find the visitor's address.
        context = {"page": page, "ip": request.remote_addr or "", "userAgent": request.headers.get("User-Agent", "")[:1024]}
        return {**who, "event_type": name, "event_data": data or {}, "context": context, **fields}

    def page(name, template, **values):
        mill.send(event(name, {"title": name}, type="page"))
        cart = session.get("cart", [])
        return render_template(template, title=name, cart_size=len(cart), me=session.get("name"), **values)

    def good(sku):
        return GOODS.get(sku) or abort(404)

    @app.before_request
    def visitor():
        g.began = time.perf_counter()
        session.setdefault("visitor", str(uuid.uuid4()))

    @app.after_request
    def every_request(response):
        mill.send(event("HTTP Request", {
            "method": request.method, "path": request.full_path.removesuffix("?"), "status": response.status_code,
            "protocol": request.environ.get("SERVER_PROTOCOL", ""), "bytes": response.content_length or 0,
            "milliseconds": round(1000 * (time.perf_counter() - g.began), 1),
        }))
        return response

    @app.get("/")
    def shop():
        return page("Shop", "shop.html", goods=GOODS.values())

    @app.get("/goods/<sku>")
    def product(sku):
        shown = good(sku)
        mill.send(event("Product Viewed", shown))
        return page(shown["name"], "product.html", good=shown)

    @app.get("/cart")
    def cart():
        goods = [GOODS[sku] for sku in session.get("cart", []) if sku in GOODS]
        return page("Cart", "cart.html", goods=goods, total=sum(one["price"] for one in goods), placed=request.args.get("placed"))

    @app.post("/cart")
    def add():
        added = good(request.form.get("sku"))
        session["cart"] = [*session.get("cart", []), added["sku"]][:50]
        mill.send(event("Product Added", added))
        return redirect(url_for("cart"), 303)

    @app.post("/order")
    def order():
        goods = [GOODS[sku] for sku in session.pop("cart", []) if sku in GOODS]
        if not goods:
            return redirect(url_for("cart"), 303)
        number = secrets.token_hex(4)
        mill.send(event("Order Completed", {
            "order_id": number, "total": round(sum(one["price"] for one in goods), 2), "currency": "EUR",
            "products": [one["sku"] for one in goods],
        }))
        return redirect(url_for("cart", placed=number), 303)

    @app.post("/sign-in")
    def sign_in():
        # A shop of yours asks for a password here: the help desk tells whoever signs in what this user did.
        name = " ".join(request.form.get("name", "").split())[:60]
        if not name:
            return redirect(url_for("support"), 303)
        session["name"], session["user"] = name, name.lower()
        session["club"] = bool(request.form.get("club"))
        # The id of the visitor goes along: from here on Millrace knows that both are one.
        mill.send(event("Signed In", type="identify", traits={"name": name, "plan": "club" if session["club"] else "guest"}))
        return redirect(url_for("support"), 303)

    @app.post("/sign-out")
    def sign_out():
        mill.send(event("Signed Out"))
        # With a new visitor id: the next one at this browser may be somebody else.
        session.clear()
        session["visitor"] = str(uuid.uuid4())
        return redirect(url_for("shop"), 303)

    @app.get("/support")
    def support():
        return page("Help Desk", "support.html", ask_id=str(uuid.uuid4()), answer=None)

    @app.post("/support")
    def ask():
        question = request.form.get("question", "").strip()[:2000]
        # The form brings an id, so that a second click or a reload is the same question and not another one.
        ask_id = request.form.get("ask_id", "")
        if not UUID.fullmatch(ask_id):
            ask_id = str(uuid.uuid4())
        values = {"title": "Help Desk", "question": question, "ask_id": ask_id, "me": session.get("name"),
                  "cart_size": len(session.get("cart", []))}
        began = time.perf_counter()
        try:
            answer = mill.ask(event("help_requested", {"question": question}, message_id=ask_id))
        except MillraceError as error:
            app.logger.warning("nobody knows who asks: %s", error)
            return render_template("support.html", answer=None, error=error, **values), 503
        values["ask_id"] = str(uuid.uuid4())
        return render_template("support.html", answer=answer, took=1000 * (time.perf_counter() - began), **values)

    return app


if __name__ == "__main__":
    # SIGTERM ends Python without its exit functions, and they send what is left in the queue.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    create_app(Millrace.from_environment()).run(os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "5000")))
