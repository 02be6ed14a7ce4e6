"""Paths of the approvals API, below the gateway's `/api` or without it."""

from django.urls import path

from hitl.api import views
from hitl.api.wait import WaitConsumer

WAIT_PATH = "aura/hitl/requests/<segment:request_id>/wait"

urlpatterns = [
    path("aura/hitl/approve/<segment:request_id>", views.ApproveView.as_view()),
    path("aura/hitl/reject/<segment:request_id>", views.RejectView.as_view()),
    path("aura/hitl/requests", views.RequestsView.as_view()),
    path("aura/hitl/requests/<segment:request_id>", views.OneRequestView.as_view()),
    path("aura/hitl/requests/<segment:request_id>/cancel", views.CancelView.as_view()),
    path("aura/hitl/signals/<segment:session_id>", views.SignalView.as_view()),
    path(WAIT_PATH, views.WaitView.as_view()),
]
# What ASGI consumers serve: path, methods, consumer.
consumers = [(WAIT_PATH, ("GET",), WaitConsumer)]
