"""Paths of sessions and streams, below the gateway's `/api` or without it."""

from django.urls import path

from streaming.api import views
from streaming.consumers import AttachConsumer, StartConsumer
from streaming.timeline_consumer import TimelineConsumer

START_PATHS = ("aura/test/stream", "agent/chat-stream")
ATTACH_PATH = "aura/sessions/<segment:session_id>/stream"

urlpatterns = [
    *(path(start, views.StartView.as_view()) for start in START_PATHS),
    path(ATTACH_PATH, views.AttachView.as_view()),
    path("aura/sessions/<segment:session_id>/cancel", views.CancelView.as_view()),
]
# The paths that ASGI consumers serve: path, methods, consumer (`dwp_project.asgi`).
consumers = [
    *((start, ("GET", "POST"), StartConsumer) for start in START_PATHS),
    (ATTACH_PATH, ("GET",), AttachConsumer),
    ("admin/streaming/session/<segment:session_id>/timeline/", ("GET",), TimelineConsumer),
]
