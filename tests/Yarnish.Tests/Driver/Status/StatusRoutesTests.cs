using System.Text.Json;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish.Tests.Driver.Status;

public sealed class StatusRoutesTests
{
    private static (int Code, object Body) Ask(string path, params (string Name, string Value)[] query) => StatusRoutes.Answer(
        Given.Status(Given.EventsOf(5)), path, name => query.FirstOrDefault(pair => pair.Name == name).Value);

    [Theory]
    [InlineData("/")]
    [InlineData("/api/v1/apps")]
    [InlineData("/api/v1/applicationsX")]
    [InlineData("/api/v1/applications/app-2")]
    [InlineData("/api/v1/applications/app-1/secrets")]
    [InlineData("/api/v1/applications/app-1/jobs/99999")]
    [InlineData("/api/v1/applications/app-1/jobs/-1")]
    [InlineData("/api/v1/applications/app-1/jobs/99999999999999999999")]
    [InlineData("/api/v1/applications/app-1/stages/0/99")]
    [InlineData("/api/v1/applications/app-1/stages/0/0/taskSummary/more")]
    [InlineData("/api/v1/applications/../../etc/passwd")]
    [InlineData("/api/v1/applications/app-1/jobs/0\u0000")]
    public void What_is_not_there_is_not_found(string path)
    {
        var (code, body) = Ask(path);

        Assert.Equal(404, code);
        Assert.Equal("not-found", Assert.IsType<ErrorInfo>(body).Code);
    }

    [Theory]
    [InlineData("length", "1001")]
    [InlineData("length", "-1")]
    [InlineData("offset", "x")]
    [InlineData("offset", "99999999999")]
    public void Page_that_cannot_be_is_invalid(string name, string value)
    {
        var (code, body) = Ask("/api/v1/applications/app-1/jobs", (name, value));

        Assert.Equal(400, code);
        Assert.Contains(name, Assert.IsType<ErrorInfo>(body).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Lists_are_filtered_and_paged_newest_first()
    {
        var all = Assert.IsType<JobInfo[]>(Ask("/api/v1/applications/app-1/jobs").Body);
        Assert.Equal(all.OrderByDescending(job => job.Id).Select(job => job.Id), all.Select(job => job.Id));
        Assert.Equal(all.Skip(1).Take(2).Select(job => job.Id), Assert.IsType<JobInfo[]>(Ask("/api/v1/applications/app-1/jobs", ("offset", "1"), ("length", "2")).Body).Select(job => job.Id));
        Assert.Equal(
            all.Where(job => job.State == "succeeded").Select(job => job.Id),
            Assert.IsType<JobInfo[]>(Ask("/api/v1/applications/app-1/jobs", ("state", "succeeded")).Body).Select(job => job.Id));
    }

    [Fact]
    public void Slash_at_the_end_and_the_list_of_applications_work()
    {
        Assert.Equal(200, Ask("/api/v1/applications/app-1/jobs/").Code);
        Assert.Equal("app-1", Assert.Single(Assert.IsType<ApplicationDetail[]>(Ask("/api/v1/applications").Body)).Id.Value);
    }

    [Fact]
    public void Records_are_plain_json_with_names_in_camel_case()
    {
        var (_, body) = Ask("/api/v1/applications/app-1");
        var json = JsonSerializer.Serialize(body, body.GetType(), ProtocolJson.Options);

        Assert.Contains("\"id\":\"app-1\"", json, StringComparison.Ordinal);
        Assert.Contains("\"state\":\"succeeded\"", json, StringComparison.Ordinal);
        Assert.NotNull(JsonSerializer.Deserialize<ApplicationDetail>(json, ProtocolJson.Options));
    }

    [Fact]
    public void Status_without_a_beginning_is_not_ready() => Assert.Equal(503, StatusRoutes.Answer(new ApplicationStatus(), "/api/v1/applications", _ => null).Code);
}
