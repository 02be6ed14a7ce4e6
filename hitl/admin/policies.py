"""The page of policies: members read them, a tenant's admins add, change and retire them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.models import tenant_choices
from dwp_project.gateway.operators import operator_at
from hitl import errors
from hitl.admin.base import ServiceAdmin, TenantForm
from hitl.approvals import permissions, shortages
from hitl.desk import decisions, explain, wording
from hitl.models import Policy
from hitl.models.requests import MAX_WRITTEN_ACTION_LENGTH
from hitl.policies import changes, rules
from hitl.policies.patterns import ANY
from hitl.policies.rules import Rule, rule_as_of
from hitl.text import dates, sanitize

_RULE_FIELDS = (
    "min_approvals",
    "forbid_requester",
    "required_role",
    "timeout_seconds",
    "on_timeout",
    "escalate_to_role",
    "escalate_seconds",
    "reason_required",
    "risk",
)
# What is sent to have explained which policy applies.
_ASKED = ("tenant", "action", "request")
# Chosen: the newest versions that a policy's page lists.
_MAX_VERSIONS = 200
_HISTORY_FIELDS = ("created_at", "created_by", "is_current", "is_retired", "versions")


class PolicyForm(TenantForm):
    """The rule of a new policy, or of the next version of one."""

    class Meta:
        model = Policy
        fields: ClassVar[list[str]] = ["tenant_id", "pattern", *_RULE_FIELDS]
        help_texts: ClassVar[dict[str, Any]] = {
            "pattern": gettext_lazy(
                "An action type, such as delete_mail, or one with * for any text: delete_*. "
                "Where several fit, the most literal one holds."
            ),
            "min_approvals": gettext_lazy(
                "So many different people must approve, 1 to 5. One rejection is always enough."
            ),
            "forbid_requester": gettext_lazy("Whoever asked cannot approve, whatever their role."),
            "required_role": gettext_lazy(
                "Who may approve. Empty: approvers, admins, and whoever asked."
            ),
            "timeout_seconds": gettext_lazy(
                "At most 2592000, which is 30 days. Empty: as the agent asks."
            ),
            "on_timeout": gettext_lazy(
                "Escalating gives the request once to another role, for the further seconds."
            ),
            "reason_required": gettext_lazy("Here and over REST."),
            "risk": gettext_lazy(
                "Shown beside each request. From high risk on, each is decided on its own page."
            ),
        }

    @property
    def rule(self) -> Rule:
        """Return the rule that the form describes; only of a form whose fields are valid."""
        values = {name: self.cleaned_data[name] for name in _RULE_FIELDS}
        return Rule(**{**values, "on_timeout": str(values["on_timeout"])})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            pattern = cleaned.get("pattern", self.instance.pattern)
            try:
                changes.check(pattern, self.rule)
                if "tenant_id" in cleaned:
                    changes.check_is_new(cleaned["tenant_id"], pattern)
            except errors.InvalidPolicy as exc:
                raise ValidationError({exc.field: str(exc.message)}) from exc
            except errors.PolicyExists as exc:
                raise ValidationError({"pattern": str(exc.message)}) from exc
        return cleaned

    def validate_unique(self) -> None:
        """Leave this check to the service, which takes retired policies into account."""

    def validate_constraints(self) -> None:
        """Leave this check to the service as well."""


@admin.register(Policy)
class PolicyAdmin(ServiceAdmin):
    form = PolicyForm
    change_form_template = "hitl/policy.html"
    change_list_template = "hitl/policies.html"
    list_display = (
        "shown_pattern",
        "tenant_id",
        "risk",
        "approvers",
        "term",
        "rejection",
        "since",
    )
    list_filter = ("tenant_id", "risk", "required_role")
    add_fields = ("tenant_id", "pattern", *_RULE_FIELDS)
    fields = ("tenant_id", "pattern", "version", *_RULE_FIELDS, *_HISTORY_FIELDS)
    readonly_fields = ("tenant_id", "pattern", "version", *_HISTORY_FIELDS)
    search_fields = ("pattern",)
    ordering = ("tenant_id", "pattern")
    actions = ("retire_selected",)
    show_full_result_count = False

    @admin.display(description=gettext_lazy("action pattern"), ordering="pattern")
    def shown_pattern(self, obj: Policy) -> str:
        """Show the pattern, with a mark if it has letters that imitate others."""
        imitations = wording.imitations(obj.pattern)
        return render_to_string(
            "hitl/lookalike.html",
            {"text": sanitize.marked(obj.pattern), "spelling": [imitations] if imitations else []},
        )

    @admin.display(description=gettext_lazy("who must approve"))
    def approvers(self, obj: Policy) -> str:
        return explain.approvers(rule_as_of(obj))

    @admin.display(description=gettext_lazy("time to decide"), ordering="timeout_seconds")
    def term(self, obj: Policy) -> str:
        term = wording.duration(obj.timeout_seconds) if obj.timeout_seconds else _("as asked")
        then = explain.then(rule_as_of(obj))
        return format_html('{} <span class="quiet">{}</span>', term, then) if then else term

    @admin.display(description=gettext_lazy("a rejection"))
    def rejection(self, obj: Policy) -> str:
        return _("needs a reason") if obj.reason_required else ""

    @admin.display(description=gettext_lazy("version"), ordering="created_at")
    def since(self, obj: Policy) -> str:
        """Show the version, since when it holds and who made it."""
        by = sanitize.marked(obj.created_by)
        text = '{} <span class="quiet">{} · {}</span>'
        return format_html(text, f"v{obj.version}", dates.html(obj.created_at), by)

    @admin.display(description=gettext_lazy("versions"))
    def versions(self, obj: Policy) -> str:
        """List the versions with who made each and a link to its page."""
        policies = Policy.objects.filter(tenant_id=obj.tenant_id, pattern=obj.pattern)
        lines = format_html_join(
            "",
            '<li><a href="{}">v{}</a> {} · {}{}</li>',
            (
                (
                    reverse("admin:hitl_policy_change", args=[version.pk]),
                    version.version,
                    dates.html(version.created_at),
                    sanitize.marked(version.created_by),
                    " · " + _("retired") if version.is_retired else "",
                )
                for version in policies.order_by("-version")[:_MAX_VERSIONS]
            ),
        )
        return format_html("<ul>{}</ul>", lines)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        policies = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and match.url_name == "hitl_policy_changelist"
        return policies.filter(is_current=True, is_retired=False) if is_list else policies

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_open = obj is None or (obj.is_current and not obj.is_retired)
        return is_open and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_retire_permission(self, request: HttpRequest) -> bool:
        """Offer the action to operators who may retire policies in some tenant."""
        return self.has_change_permission(request)

    @admin.action(description=gettext_lazy("Retire selected policies"), permissions=["retire"])
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        retired = sum(self._retire(request, policy) for policy in queryset)
        if retired:
            text = ngettext("%(count)d policy retired.", "%(count)d policies retired.", retired)
            messages.success(request, text % {"count": retired})
        else:
            messages.error(request, str(errors.PolicyOutdated()))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Leave out the tenant if it is the same in each row."""
        columns = super().get_list_display(request)
        if len(operator_at(request).tenants) > 1:
            return columns
        return [each for each in columns if getattr(each, "__name__", each) != "tenant_id"]

    def audit_of(self, obj: Policy) -> str:
        """Return the page of the policy: it lists all versions, with who made each and when."""
        return reverse("admin:hitl_policy_change", args=[obj.pk])

    # --- which policy applies ----------------------------------------------------------

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.explain_view)
        return [path("explain/", view, name="hitl_policy_explain"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"explain": _form_to_explain(request)}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """Say which policy applies to an action, what it asks and why: as `explain_policy`."""
        operator = operator_at(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = _form_to_explain(request, **{name: request.GET.get(name, "") for name in _ASKED})
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _("Which policy applies?"),
            "opts": self.opts,
            "explain": form,
        }
        tenant, action = form["tenant"], form["action"]
        if form["request"]:
            requests = permissions.visible_to(operator).select_related("policy")
            tried = requests.filter(request_id=form["request"]).first()
            if tried is None:
                context["wrong"] = _("Your tenants have no request of exactly this id.")
            else:
                asked = (request.GET.get("tenant") or tried.tenant_id, action or tried.action_type)
                tenant, action = tried.tenant_id, tried.action_type
                context["is_replaced"] = asked != (tenant, action)
                form |= {"tenant": tenant, "action": action}
                context |= {"tried": tried, "tried_headline": wording.headline(tried)}
        if tenant not in operator.tenants:
            context["wrong"] = _("This tenant is not one of those that you may choose here.")
        elif len(action) > MAX_WRITTEN_ACTION_LENGTH:
            context["wrong"] = _("An action type is at most 512 characters.")
        elif "wrong" not in context and (action or form["request"]):
            matches = rules.explain(tenant, action)
            context["explanation"] = explain.explanation(tenant, action, matches)
            if "tried" in context:
                context["tried_on"] = explain.of_request(context["tried"], context["explanation"])
        return TemplateResponse(request, "hitl/explain.html", context)

    # --- changes -----------------------------------------------------------------------

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kw: Any) -> Any:
        obj = kw.get("obj")
        if obj is not None:
            # Of a pattern that is an action itself.
            action = obj.pattern if ANY not in obj.pattern else ""
            context["explain"] = _form_to_explain(request, tenant=obj.tenant_id, action=action)
        context["may_retire"] = obj is not None and self.has_change_permission(request, obj)
        return super().render_change_form(request, context, *args, **kw)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        policy = self.get_object(request, object_id) if object_id is not None else None
        if request.method == "POST" and policy is not None:
            # The address names the version that the operator read.
            is_outdated = not self.has_change_permission(request, policy)
            if is_outdated and super().has_change_permission(request, policy):
                messages.error(request, str(errors.PolicyOutdated()))
                return HttpResponseRedirect(reverse("admin:hitl_policy_changelist"))
            if "_retire" in request.POST:
                if self._retire(request, policy):
                    messages.success(request, _("The policy was retired."))
                return HttpResponseRedirect(reverse("admin:hitl_policy_changelist"))
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        actor = decisions.operator_actor_at(request, obj.tenant_id)
        if change:
            policy = changes.change(actor, obj.pattern, form.rule, version=obj.version)
        else:
            policy = changes.create(actor, obj.pattern, form.rule)
        # The admin goes on with, and logs, the row that the service made.
        obj.pk, obj.version = policy.pk, policy.version
        for shortage in shortages.of_rule(policy.tenant_id, form.rule):
            messages.warning(request, wording.shortage(shortage))

    def _retire(self, request: HttpRequest, policy: Policy) -> bool:
        """Retire the policy in the version that was read; return whether that was done, and leave a
        message if it was refused."""
        actor = decisions.operator_actor_at(request, policy.tenant_id)
        try:
            changes.retire(actor, policy.pattern, version=policy.version)
        except DwpError as exc:
            names = {"name": sanitize.plain(policy.pattern), "why": exc.message}
            messages.error(request, _("Policy %(name)s was not retired: %(why)s") % names)
            return False
        return True


def _form_to_explain(request: HttpRequest, /, **sent: str) -> dict[str, Any]:
    """Return what the form shows that asks which policy applies."""
    tenants = tenant_choices(operator_at(request).tenants)
    choices = [(tenant, sanitize.plain(label)) for tenant, label in tenants]
    first = choices[0][0] if choices else ""
    form = {name: sent.get(name, "").strip() for name in _ASKED}
    return {**form, "tenant": form["tenant"] or first, "tenants": choices}
