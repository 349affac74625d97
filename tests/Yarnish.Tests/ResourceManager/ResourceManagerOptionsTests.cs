using Xunit;
using Yarnish.ResourceManager;

namespace Yarnish.Tests.ResourceManager;

public sealed class ResourceManagerOptionsTests
{
    [Fact]
    public void The_defaults_are_valid() => Assert.Empty(new ResourceManagerOptions().Problems());

    [Theory]
    [InlineData("http://0.0.0.0:8088")]
    [InlineData("http://*:8088")]
    [InlineData("http://+:8088")]
    [InlineData("http://[::]:8088")]
    [InlineData("http://10.0.0.1:8088")]
    [InlineData("http://rm.example.org:8088")]
    [InlineData("http://127.0.0.1:8088;http://0.0.0.0:9000")]
    public void Binding_anything_but_loopback_without_a_secret_is_refused(string urls)
    {
        var problem = Assert.Single(new ResourceManagerOptions { Urls = urls }.Problems());

        Assert.Contains("Yarnish__Secret", problem, StringComparison.Ordinal);
        Assert.Empty(new ResourceManagerOptions { Urls = urls, Secret = "a good secret" }.Problems());
    }

    [Theory]
    [InlineData("http://127.0.0.1:0")]
    [InlineData("http://127.8.8.8:1")]
    [InlineData("http://localhost:8088")]
    [InlineData("http://[::1]:8088")]
    public void Loopback_needs_no_secret(string urls) => Assert.Empty(new ResourceManagerOptions { Urls = urls }.Problems());

    [Fact]
    public void Every_wrong_setting_is_named_at_once()
    {
        var problems = new ResourceManagerOptions
        {
            ClusterName = "two words",
            RabbitMq = "localhost",
            Redis = "",
            Urls = "8088",
            Secret = "short",
            AdvertisedUrl = "here",
            DataDirectory = "",
            BlobQuotaBytes = 1,
            ConcurrentUploads = 0,
            InboxCapacity = 1,
            TickInterval = TimeSpan.Zero,
        }.Problems().ToList();

        foreach (var name in new[] { "ClusterName", "RabbitMq", "Redis", "Urls", "Secret", "AdvertisedUrl", "DataDirectory", "BlobQuotaBytes", "ConcurrentUploads", "InboxCapacity", "TickInterval" })
        {
            Assert.Contains(problems, problem => problem.StartsWith("Yarnish__" + name, StringComparison.Ordinal));
        }
    }
}
